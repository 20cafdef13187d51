"""Makes the golden files of the tokenizers beside this file.
  strings.jsonl          hard strings, one JSON string a line
  NAME/                  five small tokenizers trained here, as Hugging Face folders
  NAME.ids               their ids of each string by `tokenizers`, special tokens as text, one line each
  NAME.special.ids       number of the line and ids where special tokens as tokens give other ids
  smollm2.ids            the same of SmolLM2's own vocabulary (its GGUF, with the digits split that it was
                         trained with); smollm2.special.ids
  chats.jsonl, FAMILY.template, chats.FAMILY.ids   conversations, and their ids by transformers

Run: python make.py SMOLLM2_FOLDER TEMPLATES_FOLDER
(packages tokenizers, transformers, jinja2; TEMPLATES_FOLDER: chat templates of released models, one
NAME.jinja a model, as llama.cpp keeps them)."""
import json
import os
import random
import shutil
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

here = os.path.dirname(os.path.abspath(__file__))
random.seed(7)

SCRIPTS = """The quick brown fox jumps over the lazy dog.
Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.
Portez ce vieux whisky au juge blond qui fume, n'est-ce pas ?
El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia y frío.
Pchnąć w tę łódź jeża lub ośm skrzyń fig.
Příliš žluťoučký kůň úpěl ďábelské ódy.
Cửa Việt là một cửa sông ở tỉnh Quảng Trị.
Съешь ещё этих мягких французских булок, да выпей чаю.
Щастя, здоров'я, їжак, ґанок, Євген.
Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.
דג סקרן שט בים מאוכזב ולפתע מצא לו חברה.
صِف خَلقَ خَودِ كَمِثلِ الشَمسِ إِذ بَزَغَت
یک روز گرم پاییزی در تهران ۱۲۳۴۵۶
ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश
আমার সোনার বাংলা, আমি তোমায় ভালোবাসি
யாமறிந்த மொழிகளிலே தமிழ்மொழி போல்
నేను తెలుగు మాట్లాడుతాను
ನಾನು ಕನ್ನಡ ಮಾತನಾಡುತ್ತೇನೆ
എനിക്ക് മലയാളം അറിയാം
මම සිංහල කතා කරනවා
เป็นมนุษย์สุดประเสริฐเลิศคุณค่า
ຂ້ອຍເວົ້າພາສາລາວ
ကျွန်တော် မြန်မာစကား ပြောတတ်တယ်
កាន់តែពិសេសអាចខលចេញ
བོད་སྐད་ཤེས་ཀྱི་ཡོད།
სამართლიანობა და თავისუფლება
Բարեւ, ինչպե՞ս ես
የኢትዮጵያ ሕዝብ
いろはにほへと ちりぬるを カタカナ ﾊﾝｶｸ
我能吞下玻璃而不伤身体。我想在apple工作1314151天～
키스의 고유조건은 입술끼리 만나야 하고
Монгол хэл ᠮᠣᠩᠭᠣᠯ
ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ
𝒜𝓃𝒹 𝔾𝕠𝕥𝕙𝕚𝕔 𐌰𐌱𐌲 𒀀𒁀 𓀀𓁐
ǅ ǈ ǋ ﬁ ﬃ ß ẞ ſ İ ı
℃ № ™ ½ ¾ ⅷ ² ³ ¹ ⑳ ㊿""".split("\n")
EMOJI = ["😀", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷🇯🇵", "😶‍🌫️ in fog", "❤️‍🔥", "1️⃣2️⃣", "🧑🏿‍🚀!", "☃☃️", "🤦🏼‍♂️ no", "a😀b", "😀 😀"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\n \n", " \n", "\n ", "a ", " a", "  a", "a  b", "a   b", "a\tb",
          "a\n\nb", "a \n b", "a\u00a0b", "a\u00a0\u00a0b", "a\u2003b", "a\u3000b", "a\u200bb", "a\u180eb", "a\u0085b",
          "a\u2028b\u2029", " \u00a0 x", "x\u1680y", "\u202f\u205fz", "\x0b\x0c", "end   ", "   \n\n\n   start", " " * 40,
          "\n" * 9, "\t\t\tif x:\n\t\t\t\treturn", "a\r\rb\n\r"]
CONTROL = ["\x01\x02\x03", "\x1b[31mred\x1b[0m", "\x7f", "a\x08b", "\x1f\x1e", "\ufeffBOM", "\u202eright\u202c", "\ufffd", "\ufffe\uffff",
           "\ue000\uf8ff", "\U000e0001\U000e0041", "\U0010ffff", "\u0301", "e\u0301", "\u1e9b\u0323", "a\u0315\u0300\u05ae\u0062",
           "\u1100\u1161\u11a8", "\u212b\u2126", "q\u0307\u0323", "\u0344", "\u0958", "\u2adc", "\u0f71\u0f72\u0f74", "\uf900"]
NUMBERS = ["0", "7", "12", "123", "1234", "12345", "1234567890", "3.14159", "-5", "1,000,000", "1e-7", "0xFF", "1st 2nd", "a1b22c333",
           "  12", " 12 ", "12  12", "٣٤٥", "१२३", "２０２４", "Ⅻ", "½ ¼", "x²", "2024-11-24T19:44:00Z", "$1.50", "50%", "100°", "v1.2.3"]
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "a<|im_end|>b", "<|im_end|>\n<|im_start|>user\nhi", "<s>", "</s>", "<s> a</s>b",
           "[INST] x [/INST]", "<<SYS>>\nx\n<</SYS>>", "<unk>", "<0x0A>", "<0xFF><0x00>", "<|eot_id|>", "<|start_header_id|>",
           "<|im_end", "|im_end|>", "<|im_end|><|im_end|>", "< |im_end|>", "<|IM_END|>", "<|begin_of_text|>", "<tool>", " <tool> ",
           "x<tool>y", "<trim>", "a <trim> b", "a  <trim>  b", "<trim><trim>", "word", "a word b", "words", "sword", "a_word", "word.",
           "NormÉ", "a NormÉ b", "norme\u0301", "<|reserved_0|>", "▁", "▁▁", "a▁b", " ▁ ", "▁Hello", "Ġ", "Ċ", "ĠHello", "Â", "\u2581\u2581a"]
WORDS = ["don't", "I'll", "we've", "DON'T", "they'RE", "'s", "'S", "'tis", "it's 's", "o'clock", "y'all'd've", "’s don’t", "HelloWorld",
         "snake_case_name", "camelCaseName", "kebab-case", "UPPER", "mIxEd", "x", "Hello", " Hello", "Hello world", " Hello World!",
         "Hello, y'all! How are you?", "antidisestablishmentarianism", "a" * 50, "ab" * 40, "!!!!!!", "......", "?!?!", "------=====", "''''``\"\"",
         "(a)[b]{c}", "a/b\\c", "#tag @name", "http://example.org/a?b=c&d=%20", "me@example.org", "<b>bold</b>", "&amp;", "{{x}}", "{% if %}",
         "for (int i = 0; i < n; i++) {", "    return x;\n}", "\"quoted\"", "\\n", "C:\\Windows", "a+b=c", "~/.bashrc", "$HOME", "1+1=2",
         "日本語english混ぜ", "naïve café", "co-operate", "e.g., i.e.", "Mr. O'Neill", "ſs 'ſ", "ﬀ", "ÿÿ", "õ÷Á"]


def noise(n):
    pools = [lambda: chr(random.randrange(32, 127)), lambda: random.choice(" \n\t  "), lambda: chr(random.randrange(0xA0, 0x250)),
             lambda: chr(random.randrange(0x370, 0x530)), lambda: chr(random.randrange(0x4E00, 0x4F00)), lambda: random.choice("0123456789"),
             lambda: chr(random.randrange(0x1F600, 0x1F640)), lambda: random.choice(["'s", "'ll", " the", "ing", "\u0301", "\u200d", "<|", "|>"])]
    return "".join(random.choice(pools)() for _ in range(n))


def make_strings():
    out = [""] + EMOJI + SPACES + CONTROL + NUMBERS + SPECIAL + WORDS + SCRIPTS
    out += [" " + s for s in SCRIPTS] + [s.upper() for s in SCRIPTS[:12]] + [w + s for w, s in zip(WORDS, SPACES)]
    out += [a + b for a, b in zip(EMOJI * 3, WORDS)] + [a + " " + b for a, b in zip(NUMBERS, SCRIPTS)]
    out += [a + b + a for a, b in zip(SPACES, SPECIAL)] + [a + b for a, b in zip(CONTROL, SPECIAL)]
    out += [noise(random.randrange(1, 30)) for _ in range(70)]
    return [s for s in dict.fromkeys(out) if "\x00" not in s]


ADDED = [AddedToken("<tool>", normalized=False), AddedToken("<trim>", lstrip=True, rstrip=True, normalized=False),
         AddedToken("word", single_word=True, normalized=False), AddedToken("NormÉ", normalized=True)]
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace("{1,3}", "")


def split(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def byte_level(pre, special, normalizer=None):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer, t.decoder = pre, decoders.ByteLevel()
    if normalizer:
        t.normalizer = normalizer
    t.train_from_iterator(SCRIPTS[:12] * 3 + WORDS + SPACES, trainers.BpeTrainer(
        vocab_size=700, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    t.add_tokens(ADDED)
    return t


def sentencepiece(first):
    """Byte fallback, spaces as U+2581; `first`: Metaspace before the text only, else the old normalizer."""
    special = ["<unk>", "<s>", "</s>"]
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t.train_from_iterator(SCRIPTS[:12] * 3 + WORDS, trainers.BpeTrainer(
        vocab_size=700, special_tokens=special + ["<0x%02X>" % b for b in range(256)], limit_alphabet=90, show_progress=False))
    d = json.loads(t.to_str())
    d["added_tokens"] = [a for a in d["added_tokens"] if a["content"] in special]
    d["pre_tokenizer"] = None
    t = Tokenizer.from_str(json.dumps(d))
    if first:
        t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    t.add_tokens(ADDED)
    return t


def tokenizers_made():
    llama3 = byte_level(split(LLAMA3), ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"])
    d = json.loads(llama3.to_str())
    d["model"]["ignore_merges"] = True
    gpt2 = byte_level(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]),
                      ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    return {"llama3": (Tokenizer.from_str(json.dumps(d)), "<|begin_of_text|>", "<|eot_id|>"),
            "digits": (gpt2, "<|im_start|>", "<|im_end|>"),
            "qwen2": (byte_level(split(QWEN2), ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], normalizers.NFC()), None, "<|im_end|>"),
            "llama2": (sentencepiece(False), "<s>", "</s>"),
            "mistral": (sentencepiece(True), "<s>", "</s>")}


def put_lines(name, lines):
    with open(os.path.join(here, name), "w", encoding="utf-8", newline="\n") as f:
        f.write("".join(line + "\n" for line in lines))


def put_ids(name, tok, strings):
    both = []
    for special in (False, True):
        tok.encode_special_tokens = not special
        both.append([" ".join(map(str, tok.encode(s, add_special_tokens=False).ids)) for s in strings])
    put_lines(name + ".ids", both[0])
    put_lines(name + ".special.ids", ["%d %s" % (i, y) for i, (x, y) in enumerate(zip(*both)) if x != y])


def save(name, tok, bos, eos):
    folder = os.path.join(here, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    d = json.loads(tok.to_str())
    d["model"]["merges"] = [" ".join(m) for m in d["model"]["merges"]] if name != "digits" else d["model"]["merges"]
    put_lines(name + "/tokenizer.json", [json.dumps(d, ensure_ascii=False, separators=(",", ":"))])
    put_lines(name + "/tokenizer_config.json", [json.dumps({"bos_token": bos, "eos_token": {"content": eos}}, indent=1)])


def smollm2(folder):
    d = json.load(open(os.path.join(folder, "tokenizer.json"), encoding="utf-8"))
    d["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]}
    return Tokenizer.from_str(json.dumps(d))


def main():
    strings = make_strings()
    made = tokenizers_made()
    put_lines("strings.jsonl", [json.dumps(s) for s in strings])
    for name, (tok, bos, eos) in made.items():
        save(name, tok, bos, eos)
        put_ids(name, tok, strings)
    put_ids("smollm2", smollm2(sys.argv[1]), strings)
    import chats
    chats.make(here, {n: v for n, v in made.items()}, sys.argv[2])
    print(len(strings), "strings")


if __name__ == "__main__":
    main()
