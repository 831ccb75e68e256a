import { readFileSync } from "node:fs";

import type { RequestType } from "../../src/wire.js";

/** The texts of messages, as they are on the wire. */
export interface Golden {
  hello: string[];
  control_requests: string[];
  stream_requests: string[];
  stream_messages: string[];
  control_messages: string[];
  answers: Record<RequestType, string[]>;
}

/** Read from the package's folder, where `npm test` runs. */
export const GOLDEN = JSON.parse(readFileSync("tests/golden.json", "utf8")) as Golden;

/** The frame of a message: length, kind 1, text. */
export function framed(text: string): Buffer {
  const bytes = Buffer.from(text, "utf8");
  const head = Buffer.from([0, 0, 0, 0, 1]);
  head.writeUInt32LE(bytes.length + 1, 0);
  return Buffer.concat([head, bytes]);
}
