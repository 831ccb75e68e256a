// The filter removes what a terminal would answer, for observers access to the clipboard too, and not a byte more.

import assert from "node:assert/strict";
import { test } from "node:test";

import { drawSeam, queryFilter } from "../src/index.js";
import { QueryFilter } from "../src/query-filter.js";
import { size } from "./harness/place.js";
import { Dice } from "./harness/random.js";

// One character a byte; U+0080 … U+009F stand as the two bytes that UTF-8 gives them.
const QUERIES = [
  "\x1b[\xc2\x9d0c",
  "\x1b[c",
  "\x1b[0c",
  "\x1b[>c",
  "\x1b[=c",
  "\x1b[5n",
  "\x1b[6n",
  "\x1b[?6n",
  "\x1b[?996n",
  "\x1b[>q",
  "\x1b[>0q",
  "\x1b[?25$p",
  "\x1b[4$p",
  "\x1b[?u",
  "\x1b[?4m",
  "\x1b[14t",
  "\x1b[18t",
  "\x1b[21t",
  "\x1b[x",
  "\x1b[?1;1;0S",
  "\x1b[1$w",
  "\x1bZ",
  "\x1b]4;1;?\x07",
  "\x1b]4;1;?;2;?\x1b\\",
  "\x1b]10;?\x1b\\",
  "\x1b]11;?\x07",
  "\x1b]12;?\x07",
  "\x1b]10;?;?\x07",
  "\x1b]52;c;?\x07",
  "\x1bP+q544e\x1b\\",
  "\x1bP$qm\x1b\\",
  "\x1b_Gi=1,a=q;AAAA\x1b\\",
  "\xc2\x9b6n",
  "\xc2\x9d11;?\xc2\x9c",
];

const KEPT = [
  "\x1b[1;31m",
  "\x1b[m",
  "\x1b[2J",
  "\x1b[?25l",
  "\x1b[>1u",
  "\x1b[<u",
  "\x1b[=1;1u",
  "\x1b[u",
  "\x1b[22;2t",
  "\x1b[8;24;80t",
  "\x1b[2 q",
  "\x1b[!p",
  "\x1b7",
  "\x1b(0",
  "\x1b]0;title?\x07",
  "\x1b]8;;http://x/?\x1b\\",
  "\x1b]4;1;#ffffff\x07",
  "\x1b]10;#ffffff\x1b\\",
  "\x1bPq#0~\x1b\\",
  "\x1b_Ga=T;AAAA\x1b\\",
  "\x1b[>4;2m",
  "\x18",
  "\x1b]7;file://h/?\x07",
  "\x1b[1;5r",
];

/** Characters of one, two, three and four bytes. */
const TEXT = Buffer.from("text é漢😀\r\n").toString("latin1");

function filtered(clipboard: boolean, output: string, step: number): string {
  const filter = new QueryFilter(clipboard);
  const bytes = Buffer.from(output, "latin1");
  const out: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += step) {
    out.push(filter.filter(bytes.subarray(at, at + step)));
  }
  out.push(filter.finish());
  return Buffer.concat(out).toString("latin1");
}

function check(clipboard: boolean, output: string, expected: string): void {
  for (let step = 1; step <= output.length; step += 1) {
    const out = filtered(clipboard, output, step);
    assert.equal(JSON.stringify(out), JSON.stringify(expected), `${JSON.stringify(output)} split at each ${step}`);
  }
}

test("every query of the list", () => {
  for (const clipboard of [false, true]) {
    for (const query of QUERIES) {
      check(clipboard, `before${query}after`, "beforeafter");
      check(clipboard, query + query, "");
    }
  }
});

test("nothing of these", () => {
  for (const clipboard of [false, true]) {
    for (const kept of KEPT) {
      check(clipboard, `before${kept}after${TEXT}`, `before${kept}after${TEXT}`);
    }
  }
});

test("the clipboard for observers only", () => {
  const long = `a\x1b]52;c;${"Q".repeat(20_000)}\x1b\\b`;
  for (const output of ["a\x1b]52;c;YWJj\x07b", "a\x1b]52;;YWJj\x1b\\b", long]) {
    for (const step of [1, 2, 7, 4_096, output.length]) {
      assert.equal(filtered(true, output, step), "ab");
      assert.equal(filtered(false, output, step), output);
    }
  }
});

test("what a query sets besides is still set", () => {
  check(false, "\x1b]4;1;?;2;#abcdef\x07", "\x1b]4;2;#abcdef\x1b\\");
  check(false, "\x1b]10;?;#abcdef\x07", "\x1b]11;#abcdef\x1b\\");
  check(false, "\x1b]21;foreground=?;background=#abcdef\x07", "\x1b]21;background=#abcdef\x1b\\");
  check(false, "\x1b[\n6\rn", "\n\r");
  // What a removed sequence would have ended is ended.
  check(false, "\x1b]0;t\x1b[6nx", "\x1b]0;t\x1b\\x");
});

test("what is cut is passed on when the terminal answers", () => {
  for (const query of QUERIES) {
    for (let cut = 1; cut < query.length; cut += 1) {
      assert.equal(filtered(false, query.slice(0, cut), query.length), query.slice(0, cut));
    }
  }
});

test("what can be no query is passed on at once", () => {
  for (const begin of ["\x1b]0;tit", "\x1bPq#0;2", "\x1b]8;;http", "\x1b_Ga=T;AAAA", "text", "\xc3\xa9"]) {
    const out = new QueryFilter(true).filter(Buffer.from(begin, "latin1"));
    assert.equal(Buffer.from(out).toString("latin1"), begin);
  }
});

test("among others, and among bytes that are none of these", () => {
  const dice = new Dice(3);
  let queries = 0;
  for (let round = 0; round < size(500, 20_000); round += 1) {
    let [output, expected] = ["", ""];
    for (let piece = dice.below(30); piece > 0; piece -= 1) {
      const list = dice.oneIn(3) ? QUERIES : dice.oneIn(2) ? KEPT : [TEXT];
      const text = list[dice.below(list.length)] ?? "";
      output += text;
      expected += list === QUERIES ? "" : text;
      queries += list === QUERIES ? 1 : 0;
    }
    assert.equal(filtered(false, output, 1 + dice.below(20)), expected);
    // However output is cut, the same is left of it.
    const noise = dice.bytes(60).toString("latin1") + output.slice(dice.below(9)) + dice.bytes(60).toString("latin1");
    assert.equal(filtered(true, noise, 1 + dice.below(9)), filtered(true, noise, noise.length + 1));
  }
  assert.ok(queries > 1_000, `${queries} queries`);
});

test("as a stream", async () => {
  const filter = queryFilter();
  filter.write("a\x1b[6nb");
  filter.end("\x1b[");
  const out: Buffer[] = [];
  for await (const bytes of filter) {
    out.push(bytes as Buffer);
  }
  assert.equal(Buffer.concat(out).toString(), "ab\x1b[");
});

test("a seam says why and when, and ends what the lost program had", () => {
  const seam = Buffer.from(drawSeam({ code: "HOST_REBOOTED", at: 1_760_000_000_000 })).toString();
  assert.ok(seam.endsWith("\r\n\x1b[J\x1b[2mrestored after HOST_REBOOTED, 2025-10-09 08:53 UTC\x1b[22m\r\n"), seam);
  for (const code of ["\x1b[?1049l", "\x1b[?2004l", "\x1b[?1006l", "\x1b[m", "\x1b[?25h", "\x1b[<8u", "\x1b[r"]) {
    assert.ok(seam.includes(code), JSON.stringify(code));
  }
  const odd = Buffer.from(drawSeam({ code: "A\x1b\x9bB", at: Number.MAX_SAFE_INTEGER })).toString();
  assert.ok(odd.includes("restored after AB, 9007199254740991\x1b"), odd);
});
