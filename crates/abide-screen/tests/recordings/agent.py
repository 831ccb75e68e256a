"""A program that draws as coding agents do: a prompt box at the bottom that is drawn again under streamed text."""

import sys
import time

out = sys.stdout


def put(text):
    out.write(text)
    out.flush()


def box(status, width=76):
    line = "─" * (width - 2)
    return (
        f"\x1b[38;5;208m✻ {status}…\x1b[39m \x1b[2m(esc to interrupt)\x1b[22m\r\n"
        f"\x1b[38;2;136;136;136m╭{line}╮\x1b[39m\r\n"
        f"\x1b[38;2;136;136;136m│\x1b[39m > \x1b[7m \x1b[27m{' ' * (width - 6)}\x1b[38;2;136;136;136m│\x1b[39m\r\n"
        f"\x1b[38;2;136;136;136m╰{line}╯\x1b[39m\r\n"
    )


WORDS = (
    "I'll look at the parser first. The \x1b[1mtokenizer\x1b[22m holds what is cut, so that a "
    "sequence may end in the next read; see \x1b]8;;https://example.org/spec\x1b\\the specification\x1b]8;;\x1b\\. "
    "Ｗide text 漢字かな交じり and emoji 🙂🚀 must not move the box. "
).split(" ")

put("\x1b[?2004h\x1b[?1004h\x1b[>1u\x1b[?25l\x1b]0;✳ agent: parser\x07")
put("\x1b[1m\x1b[38;5;39m● Welcome\x1b[0m\r\n\r\n")
put(box("Thinking"))
row = 0
for step in range(3):
    put(f"\x1b[?2026h\x1b[4A\x1b[J\x1b[32m⏺\x1b[39m ")
    col = 2
    for word in WORDS:
        length = len(word.split("\\")[-1].split("m")[-1])
        if col + length > 70:
            put("\r\n  ")
            col = 2
        put(word + " ")
        col += length + 1
    put("\r\n\r\n")
    for number, (sign, text) in enumerate([(" ", "fn step(byte: u8) {"), ("-", "    old(byte)"), ("+", "    new(byte)"), (" ", "}")]):
        color = {"-": "48;2;60;20;20", "+": "48;2;20;60;20"}.get(sign, "49")
        put(f"   \x1b[2m{number + 12}\x1b[22m \x1b[{color}m{sign} {text:<40}\x1b[49m\r\n")
    put("\r\n" + box(["Thinking", "Reading", "Testing"][step]) + "\x1b[?2026l")
    for spin in "✢✳✶✻✽":
        put(f"\x1b[4A\r\x1b[38;5;208m{spin}\x1b[39m\x1b[4B\r")
        time.sleep(0.01)
put("\x1b[4A\x1b[J\x1b[4:3m\x1b[58:5:196mdone\x1b[0m \x1b[9mnot done\x1b[29m\r\n")
put("\x1b[<u\x1b[?1004l\x1b[?2004l\x1b[?25h")
put("READY\r\n")
sys.stdin.readline()
