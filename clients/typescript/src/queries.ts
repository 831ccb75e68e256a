import type { Kind } from "./scanner.js";

// Which control sequences make a terminal answer. Sequences are handled as text of one character a byte.

/** A sequence as text of one character a byte. */
export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}

/** Longest CSI sequence that is held back while it may still become a query; those of programs are far shorter. */
const CSI_HELD_MAX = 64;

/**
 * What is to stand in a query's place: nothing, but for the controls within it and what it sets besides. Undefined if
 * the complete sequence is no query. `clipboard`: access to the clipboard is to be removed too.
 */
export function replacement(kind: Kind, sequence: string, clipboard: boolean): string | undefined {
  switch (kind) {
    case "escape":
      return sevenBit(sequence) === "\x1bZ" ? controls(sequence) : undefined;
    case "csi":
      return isCsiQuery(sevenBit(sequence)) ? controls(sequence) : undefined;
    case "osc":
      return oscReplacement(body(sequence), clipboard);
    case "dcs":
      return ["+q", "$q"].some((start) => body(sequence).startsWith(start)) ? "" : undefined;
    case "apc":
      return isGraphicsQuery(body(sequence)) ? "" : undefined;
    case "ignored":
      return undefined;
  }
}

/** Whether what has come of a sequence may be the begin of one to be removed. */
export function mayBeRemoved(kind: Kind, held: string, clipboard: boolean): boolean {
  const text = held.slice(2);
  switch (kind) {
    case "escape":
      return true;
    case "csi":
      return held.length < CSI_HELD_MAX;
    case "osc": {
      const end = text.indexOf(";");
      const asks = /^(?:4|5|21|50|52|1[0-9])$/.test(text.slice(0, end));
      return end < 0 ? text.length <= 2 : asks || isClipboard(kind, held, clipboard);
    }
    case "dcs":
      return ["+q", "$q"].some((start) => start.startsWith(text) || text.startsWith(start));
    case "apc":
      return (/^G?$/.test(text.slice(0, 1)) && !text.includes(";")) || isGraphicsQuery(text);
    case "ignored":
      return false;
  }
}

/** Whether what has come is access to the clipboard, and that is to be removed. */
export function isClipboard(kind: Kind, held: string, clipboard: boolean): boolean {
  return clipboard && kind === "osc" && osc(held.slice(2))?.number === 52;
}

/** The controls of a sequence act though it is removed. */
function controls(sequence: string): string {
  return sequence.replace(/[^\x00-\x1a\x1c-\x1f]/g, "");
}

/** The seven-bit form, without the controls in it and without what is no part of a sequence. */
function sevenBit(sequence: string): string {
  const isC1 = sequence.startsWith("\xc2");
  const introducer = isC1 ? `\x1b${String.fromCharCode(sequence.charCodeAt(1) - 0x40)}` : sequence.slice(0, 1);
  return introducer + sequence.slice(isC1 ? 2 : 1).replace(/[^\x20-\x7e]/g, "");
}

/** The text of an OSC, DCS or APC sequence: without introducer and terminator. */
function body(sequence: string): string {
  return sequence.slice(2).replace(/(?:\x1b\\|\xc2\x9c|\x07)$/, "");
}

/** The number that an OSC's text begins with, and what follows the semicolon behind it. */
function osc(text: string): { number: number; rest: string } | undefined {
  const [, number, , rest = ""] = /^(\+?\d{1,5})(;([^]*))?$/.exec(text) ?? [];
  return number === undefined ? undefined : { number: Number(number), rest };
}

/** By marker and intermediates: the final bytes of sequences that ask. */
const CSI_QUERIES: ReadonlyMap<string, string> = new Map([
  // Device attributes, status and cursor, parameters of the terminal.
  ["", "cnx"],
  // Status and cursor, keyboard flags (kitty, xterm), graphics.
  ["?", "numS"],
  // Secondary attributes, name and version.
  [">", "cq"],
  // Tertiary attributes.
  ["=", "c"],
  // DECRQM, presentation state.
  ["$", "pw"],
  ["?$", "p"],
  // Checksum of cells, supplemental set, colours on the stack, locator.
  ["*", "y"],
  ["&", "u"],
  ["#", "R"],
  ["'", "|"],
]);

function isCsiQuery(sequence: string): boolean {
  const [, marker = "", params = "", intermediates = "", last = ""] =
    /^..([<-?]?)([0-?]*)([^]*?)([^])$/.exec(sequence) ?? [];
  if (CSI_QUERIES.get(marker + intermediates)?.includes(last) === true) {
    return true;
  }
  // The window's state, place, sizes and titles.
  const first = Number(params.split(";")[0]);
  return marker + intermediates === "" && last === "t" && [11, 13, 14, 15, 16, 18, 19, 20, 21].includes(first);
}

/** Colours, the clipboard and the font may be asked for in the place of a value, between others that are set. */
function oscReplacement(text: string, clipboard: boolean): string | undefined {
  const { number, rest } = osc(text) ?? { number: -1, rest: "" };
  const values = rest.split(";");
  if (number === 52) {
    return clipboard || values[1] === "?" ? "" : undefined;
  }
  if (number === 50) {
    return rest.startsWith("?") ? "" : undefined;
  }
  if (number === 4 || number === 5) {
    const pairs = values.flatMap((value, at) => (at % 2 === 0 ? [[value, ...values.slice(at + 1, at + 2)]] : []));
    const set = pairs.filter(([, value]) => value !== "?");
    return set.length < pairs.length ? set.map((pair) => oscOf(number, pair.join(";"))).join("") : undefined;
  }
  if (number >= 10 && number <= 19) {
    const set = values.map((value, at) => (value === "?" || value === "" ? "" : oscOf(number + at, value)));
    return values.includes("?") ? set.join("") : undefined;
  }
  if (number === 21) {
    // kitty's colours, `name=?`.
    const set = values.filter((value) => !value.endsWith("=?"));
    const kept = set.length === 0 ? "" : oscOf(number, set.join(";"));
    return set.length < values.length ? kept : undefined;
  }
  return undefined;
}

function oscOf(number: number, rest: string): string {
  return `\x1b]${number};${rest}\x1b\\`;
}

/** kitty graphics: `G`, then keys, then `;` and data; `a=q` asks. */
function isGraphicsQuery(text: string): boolean {
  const [keys = ""] = text.split(";", 1);
  return keys.startsWith("G") && keys.slice(1).split(",").includes("a=q");
}
