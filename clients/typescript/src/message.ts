import type { ControlMessage, StreamMessage } from "./wire.js";

const decoder = new TextDecoder("utf-8", { fatal: true });

/** A JSON object with a `type`; undefined if the text is something else. */
function read(text: Uint8Array): { type: string } | undefined {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(text));
  } catch {
    return undefined;
  }
  const isTyped = typeof value === "object" && value !== null && "type" in value && typeof value.type === "string";
  return isTyped ? (value as { type: string }) : undefined;
}

const CONTROL: ReadonlySet<string> = new Set<ControlMessage["type"]>([
  "hello_ok",
  "ok",
  "error",
  "event",
  "backpressure_warning",
]);

const STREAM: ReadonlySet<string> = new Set<StreamMessage["type"]>([
  "hello_ok",
  "error",
  "attached",
  "resized",
  "ownership_changed",
  "input_applied",
  "lagged",
  "restored",
  "backpressure_warning",
  "hole",
  "time",
  "exited",
  "detached",
]);

// Of a message the type is checked and nothing else: the peer is this user's own daemon, and the hello has agreed on a
// version, which says what each type holds.

/** A message of the daemon on a control connection; undefined: the peer does not speak this protocol. */
export function readControl(text: Uint8Array): ControlMessage | undefined {
  const message = read(text);
  return message !== undefined && CONTROL.has(message.type) ? (message as ControlMessage) : undefined;
}

/** A message of the daemon on a stream connection; undefined: the peer does not speak this protocol. */
export function readStream(text: Uint8Array): StreamMessage | undefined {
  const message = read(text);
  return message !== undefined && STREAM.has(message.type) ? (message as StreamMessage) : undefined;
}
