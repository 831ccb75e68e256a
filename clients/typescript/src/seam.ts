import type { Restored } from "./wire.js";

/**
 * Cancels what is unfinished and leaves the alternate screen; saved first, the cursor of the main screen stays where it
 * is. Then come margins and origin mode, whose reset moves the cursor.
 */
const LEAVE = "\x18\x1b\\\x1b[?2026l\x1b7\x1b[?1049l\x1b[!p\x1b7\x1b[r\x1b[?6l\x1b8";

/** Ends colours, links, character sets, input modes and a changed palette. */
const PLAIN =
  "\x1b[m\x1b]8;;\x1b\\\x1b[4l\x1b[20l\x1b[?7h\x1b(B\x1b)B\x1b*B\x1b+B\x0f" +
  [1, 5, 1004, 2004, 2031, 2048, 9, 1000, 1002, 1003, 1005, 1006, 1015, 1016].map((mode) => `\x1b[?${mode}l`).join("") +
  "\x1b>\x1b[>4;0m\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b]112\x1b\\\x1b[<8u";

/**
 * What a terminal is to be fed where a `restored` event stands: codes that end what the lost program had on it, and a
 * dim line of its own that says why and when the next one began. The daemon's own screens have the same.
 */
export function drawSeam(restored: Pick<Restored, "code" | "at">): Uint8Array {
  const line = `restored after ${printable(restored.code)}, ${inUtc(restored.at)}`;
  return Buffer.from(`${LEAVE}${PLAIN}\x1b[0 q\x1b[?25h\r\n\x1b[J\x1b[2m${line}\x1b[22m\r\n`, "utf8");
}

function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, "");
}

/** The last millisecond of the year 9999: a clock beyond it is told as a number. */
const LAST_MS = 253_402_300_799_999;

function inUtc(atMs: number): string {
  if (!(atMs >= 0 && atMs <= LAST_MS)) {
    return String(atMs);
  }
  const iso = new Date(atMs).toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, 16)} UTC`;
}
