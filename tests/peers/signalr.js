// SPDX-License-Identifier: Apache-2.0
// Microsoft's SignalR client, driven by lines: node signalr.js URL auto|WebSockets|ServerSentEvents|LongPolling
// In: {"method":…,"arguments":[…]}. Out: {"what":"connected"|"answer"|"StatusChanged"|…,…}. Ends with its input.
const signalr = require("@microsoft/signalr");
const [url, transport] = process.argv.slice(2);
const say = (what, more) => process.stdout.write(JSON.stringify({what, ...more}) + "\n");

const connection = new signalr.HubConnectionBuilder()
    .withUrl(url, transport === "auto" ? {} : {transport: signalr.HttpTransportType[transport]})
    .withAutomaticReconnect({nextRetryDelayInMilliseconds: () => 100})
    .configureLogging(signalr.LogLevel.None)
    .build();
for (const target of ["StatusChanged", "ProcessingCompleted", "ProcessingFailed"])
    connection.on(target, (value) => say(target, {value}));
connection.onreconnecting(() => say("reconnecting"));
connection.onreconnected(() => say("reconnected"));
connection.onclose((error) => say("closed", {error: String(error)}));

async function main() {
    await connection.start();
    say("connected");
    for await (const line of require("readline").createInterface({input: process.stdin})) {
        const {method, arguments: values} = JSON.parse(line);
        try {
            say("answer", {result: await connection.invoke(method, ...values)});
        } catch (error) {
            say("answer", {error: error.message});
        }
    }
    await connection.stop();
}

main().catch((error) => { say("failed", {error: String(error)}); process.exit(1); });
