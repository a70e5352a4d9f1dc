// SPDX-License-Identifier: Apache-2.0
// An alert as an e-mail (RFC 5322, plain text), handed to a mail server by libcurl.
//
// TLS is used when the server offers it; a password is sent over nothing else.
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "obs/alert_send_int.h"

enum { MAIL_MAX = 256 << 10, ADDRESS_MAX = 254, RECIPIENTS_MAX = 32, HEADER_MAX = 300 };

struct mail {
    const struct alert_config *config;
    const _Atomic bool *stopping;
    char from[ADDRESS_MAX + 1];
    struct curl_slist *to;
    struct buf text;
    size_t sent;
};

// --- Addresses: what stands between < and > on the wire, so nothing that could end it

static bool is_address(const char *text, size_t len)
{
    const char *at = memchr(text, '@', len);
    if (!at || at == text || at == text + len - 1 || len > ADDRESS_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] <= ' ' || text[i] == 0x7f || strchr("<>,;\"\\", text[i]))
            return false;
    return true;
}

static int each_address(const char *list, struct curl_slist **out, struct error *err)
{
    int count = 0;
    for (const char *p = list + strspn(list, ", "); *p; p += strspn(p, ", ")) {
        size_t len = strcspn(p, ", ");
        char text[ADDRESS_MAX + 1];
        if (!is_address(p, len) || ++count > RECIPIENTS_MAX)
            return error_set(err, ERR_CONFIG, "alert.email_to: \"%.*s\" %s", (int)(len < 64 ? len : 64), p,
                             count > RECIPIENTS_MAX ? "is one address too many" : "is no e-mail address");
        snprintf(text, sizeof text, "%.*s", (int)len, p);
        struct curl_slist *more = out ? curl_slist_append(*out, text) : NULL;
        if (out && !more)
            return error_set(err, ERR_NO_MEMORY, "No memory for an e-mail");
        if (out)
            *out = more;
        p += len;
    }
    return count ? 0 : error_set(err, ERR_CONFIG, "alert.smtp needs alert.email_to: who gets the e-mail");
}

static void sender(const struct alert_config *config, char out[ADDRESS_MAX + 1])
{
    char host[128] = "localhost";
    if (config->mail_from && *config->mail_from) {
        snprintf(out, ADDRESS_MAX + 1, "%s", config->mail_from);
        return;
    }
    gethostname(host, sizeof host - 1);
    snprintf(out, ADDRESS_MAX + 1, "deeplens@%s", host);
}

int alert_check_mail(const struct alert_config *config, struct error *err)
{
    if (!config->smtp || !*config->smtp)
        return config->mail_to && *config->mail_to
                   ? error_set(err, ERR_CONFIG, "alert.email_to needs alert.smtp: the mail server, smtp://HOST:PORT")
                   : 0;
    if (strncmp(config->smtp, "smtp://", 7) != 0 && strncmp(config->smtp, "smtps://", 8) != 0)
        return error_set(err, ERR_CONFIG, "alert.smtp must be an smtp:// or smtps:// address");
    if (config->mail_from && *config->mail_from && !is_address(config->mail_from, strlen(config->mail_from)))
        return error_set(err, ERR_CONFIG, "alert.email_from: \"%.64s\" is no e-mail address", config->mail_from);
    return each_address(config->mail_to ? config->mail_to : "", NULL, err);
}

// --- The text

// One line of a header: what is not printable ASCII becomes '?', so nothing can begin another.
static void put_header(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, "%s: ", name);
    for (size_t i = 0; value[i] && i < HEADER_MAX; i++)
        buf_append(out, value[i] >= ' ' && value[i] < 0x7f ? value + i : "?", 1);
    buf_puts(out, "\r\n");
}

static void put_line(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, "%s: ", name);
    for (const char *p = value; *p; p++)
        buf_append(out, (unsigned char)*p >= ' ' ? p : " ", 1);
    buf_puts(out, "\r\n");
}

static void put_alert(struct buf *out, const json_t *alert)
{
    const char *key;
    json_t *value;
    put_line(out, js_str(alert, "status", ""), js_str(alert, "subject", ""));
    put_line(out, "  message", js_str(alert, "message", ""));
    put_line(out, "  since", js_str(alert, "since", ""));
    if (js_int(alert, "count", 0) > 1)
        buf_printf(out, "  count: %lld\r\n", (long long)js_int(alert, "count", 0));
    json_object_foreach(js_obj(alert, "details"), key, value)
    {
        char name[64];
        snprintf(name, sizeof name, "  %.60s", key);
        put_line(out, name, json_string_value(value));
    }
    buf_puts(out, "\r\n");
}

static void put_head(struct mail *m, const json_t *message)
{
    char date[64], id[ID_MAX], subject[200];
    struct tm tm;
    time_t now = time(NULL);
    // Not strftime's names: they are those of the locale.
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    gmtime_r(&now, &tm);
    snprintf(date, sizeof date, "%s, %d %s %d %02d:%02d:%02d +0000", days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon],
             tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    id_new("alt", id);
    snprintf(subject, sizeof subject, "[DeepLens] %.20s: %.60s: %.100s", js_str(message, "status", ""),
             js_str(message, "alert", ""), js_str(message, "message", ""));
    put_header(&m->text, "Date", date);
    put_header(&m->text, "From", m->from);
    for (const struct curl_slist *to = m->to; to; to = to->next)
        buf_printf(&m->text, "%s%s%s", to == m->to ? "To: " : ", ", to->data, to->next ? "" : "\r\n");
    put_header(&m->text, "Subject", subject);
    buf_printf(&m->text, "Message-ID: <%s@%s>\r\n", id, strchr(m->from, '@') + 1);
    buf_puts(&m->text, "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
                       "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n");
}

static int write_mail(struct mail *m, const json_t *message, struct error *err)
{
    size_t i;
    json_t *alert;
    put_head(m, message);
    json_array_foreach(js_arr(message, "alerts"), i, alert) put_alert(&m->text, alert);
    return m->text.failed ? error_set(err, ERR_NO_MEMORY, "No memory for an e-mail") : 0;
}

// --- On the wire

static size_t give(char *room, size_t one, size_t count, void *arg)
{
    struct mail *m = arg;
    size_t n = m->text.len - m->sent, most = one * count;
    if (n > most)
        n = most;
    memcpy(room, m->text.data + m->sent, n);
    m->sent += n;
    return n;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    return *((struct mail *)arg)->stopping;
}

static void set_up(CURL *curl, struct mail *m)
{
    const struct alert_config *c = m->config;
    bool login = c->smtp_user && *c->smtp_user;
    curl_easy_setopt(curl, CURLOPT_URL, c->smtp);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(curl, CURLOPT_USE_SSL, login ? (long)CURLUSESSL_ALL : (long)CURLUSESSL_TRY);
    if (login) {
        curl_easy_setopt(curl, CURLOPT_USERNAME, c->smtp_user);
        curl_easy_setopt(curl, CURLOPT_PASSWORD, c->smtp_password ? c->smtp_password : "");
    }
    if (c->smtp_ca_file && *c->smtp_ca_file)
        curl_easy_setopt(curl, CURLOPT_CAINFO, c->smtp_ca_file);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_MAIL_FROM, m->from);
    curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, m->to);
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, give);
    curl_easy_setopt(curl, CURLOPT_READDATA, m);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)c->timeout_ms);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)c->timeout_ms);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, m);
}

static int deliver(struct mail *m, struct error *err)
{
    char why[CURL_ERROR_SIZE] = "";
    CURL *curl = curl_easy_init();
    if (!curl)
        return error_set(err, ERR_NO_MEMORY, "No memory for an e-mail");
    set_up(curl, m);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    CURLcode rc = curl_easy_perform(curl);
    curl_easy_cleanup(curl);
    if (rc == CURLE_USE_SSL_FAILED)
        return error_set(err, ERR_UNAVAILABLE,
                         "alert.smtp: the server offers no TLS, and the password goes over "
                         "nothing else");
    return rc == CURLE_OK ? 0
                          : error_set(err, ERR_UNAVAILABLE, "alert.smtp: %.200s", *why ? why : curl_easy_strerror(rc));
}

int alert_send_mail(const struct alert_config *config, const json_t *message, const _Atomic bool *stopping,
                    struct error *err)
{
    struct mail m = {.config = config, .stopping = stopping, .text = BUF_INIT(MAIL_MAX)};
    sender(config, m.from);
    int rc = each_address(config->mail_to, &m.to, err);
    if (rc == 0)
        rc = write_mail(&m, message, err);
    if (rc == 0)
        rc = deliver(&m, err);
    curl_slist_free_all(m.to);
    buf_free(&m.text);
    return rc;
}
