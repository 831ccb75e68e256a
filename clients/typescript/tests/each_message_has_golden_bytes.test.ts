// Each message and each frame is written as, and reads from, exactly these bytes: those of the daemon's own tests.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { test } from "node:test";
import { promisify } from "node:util";

import { connect } from "../src/client.js";
import type { Client } from "../src/client.js";
import { AbideError } from "../src/error.js";
import { Decoder, inputFrame, messageFrame } from "../src/frame.js";
import type { Frame } from "../src/frame.js";
import { readControl, readStream } from "../src/message.js";
import { StreamLink } from "../src/stream-link.js";
import { attachOf } from "../src/stream.js";
import { retryClass } from "../src/wire.js";
import type { Attach, RequestType, Requests } from "../src/wire.js";
import { GOLDEN, framed } from "./harness/golden.js";
import { Dice } from "./harness/random.js";
import { StandIn } from "./harness/stand-in.js";
import { HELLO_OK } from "./harness/wire.js";

/** How a caller of the library makes each request with these fields; `unsubscribe` it needs nowhere. */
const CALLS: { [Type in Exclude<RequestType, "unsubscribe">]: (c: Client, r: Requests[Type]["request"]) => unknown } = {
  create: (client, request) => client.create(request),
  list: (client, request) => client.list(request),
  inspect: (client, { session, ...options }) => client.inspect(session, options),
  kill: (client, { session, ...options }) => client.kill(session, options),
  signal: (client, { session, signal, ...options }) => client.signal(session, signal, options),
  resize: (client, { session, cols, rows, ...options }) => client.resize(session, cols, rows, options),
  takeover: (client, { session, ...options }) => client.takeover(session, options),
  release: (client, { session, ...options }) => client.release(session, options),
  rename: (client, { session, name }) => client.rename(session, name),
  remove: (client, { session }) => client.remove(session),
  write: (client, { session, data_base64: data, ...options }) =>
    client.write(session, Buffer.from(data, "base64"), options),
  text: (client, { session, ...options }) => client.text(session, options),
  wait: (client, { session, ...condition }) => client.wait(session, condition),
  subscribe: (client, request) => client.subscribe(request),
  recover: (client, { session, ...options }) => client.recover(session, options),
  recovery_report: (client) => client.recoveryReport(),
  stats: (client) => client.stats(),
  shutdown: (client, { mode, ...options }) => client.shutdown(mode, options),
};

test("requests, as a caller of the library makes them", async (context) => {
  const standIn = await StandIn.open((message, say) => {
    say({ type: "ok", id: message["id"], result: message.type === "subscribe" ? { from: 0, head: 0 } : {} });
  });
  context.after(() => standIn.close());
  const client = await connect({ path: standIn.path });
  const seen = new Set<string>();
  for (const text of [...GOLDEN.control_requests, '{"type":"stats","id":"1"}']) {
    const { type, id, ...request } = JSON.parse(text) as { type: RequestType; id: string };
    seen.add(type);
    if (type !== "unsubscribe") {
      await (CALLS[type] as (client: Client, request: object) => Promise<unknown>)(client, request);
      const sent = standIn.texts.pop() ?? "";
      // The library draws its own ids, and a key where there is none.
      const isDrawn = type === "create" && !text.includes('"key"');
      const plain = isDrawn ? sent.replace(/"key":"[0-9a-f]{32}:\d+",/, "") : sent;
      assert.equal(plain.replace(/"id":"\d+"/, `"id":"${id}"`), text);
      assert.deepEqual(messageFrame(JSON.parse(text) as object), framed(text));
    }
  }
  await client.close();
  assert.deepEqual([...seen].sort(), [...Object.keys(CALLS), "unsubscribe"].sort(), "a request has no golden bytes");
});

test("what a stream sends", () => {
  const seen = new Set<string>();
  for (const text of GOLDEN.stream_requests) {
    const message = JSON.parse(text) as { type: string; id: string; cols: number; rows: number; offset: number } & Attach;
    seen.add(message.type);
    // A width in pixels is no option of this library; the owner epoch is named by the link itself, below.
    const expected = message.type === "attach" ? text.replace(/,"xpixel":1,"ypixel":2|,"owner_epoch":3/, "") : text;
    const sent = sentBy(message);
    assert.deepEqual(sent, framed(expected.replace(/"id":"\d+"/, '"id":"1"')), expected);
  }
  assert.deepEqual([...seen].sort(), ["ack", "attach", "detach", "input_state", "resize"]);
});

test("a stream that comes back names the owner epoch that it goes on with", () => {
  const identity = { clientId: "c", seed: "0".repeat(32), mayStart: false };
  const link = new StreamLink(identity, { session: "s", mode: "owner" }, 0);
  const say = (text: string) => link.handle(10_000, { kind: "frame", frame: { kind: "message", text: Buffer.from(text) } });
  const greeted = () => {
    link.handle(10_000, { kind: "timeout" });
    link.handle(10_000, { kind: "connected" });
    const sent = say(JSON.stringify(HELLO_OK)).flatMap((output) => (output.kind === "send" ? [output.bytes] : []));
    return Buffer.concat(sent).toString();
  };
  assert.doesNotMatch(greeted(), /owner_epoch/);
  const attached = GOLDEN.stream_messages.find((text) => text.includes('"attached"')) ?? "";
  say(attached.replace('"snapshot_bytes":5321', '"snapshot_bytes":0'));
  link.handle(0, { kind: "closed" });
  assert.match(greeted(), /"owner_epoch":1/);
});

/** The bytes of the link's own message of this type. */
function sentBy(message: { type: string; cols: number; rows: number; offset: number } & Attach): Buffer {
  const { session, mode, from = "snapshot", cols, rows, on_lag: onLag = "resync", lag_bytes_max: lagBytesMax } = message;
  const { window_bytes: windowBytes, scrollback_lines: scrollbackLines, until, times, agent } = message;
  const options = { mode, from, cols, rows, onLag, lagBytesMax, windowBytes, scrollbackLines, until, times, agent };
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const isAttach = message.type === "attach";
  const link = new StreamLink(
    { clientId: "c", seed: "0".repeat(32), mayStart: false },
    isAttach ? attachOf(session, given) : { session: "s", mode: "owner" },
    0,
  );
  link.handle(0, { kind: "timeout" });
  link.handle(0, { kind: "connected" });
  const hello = link.handle(0, { kind: "frame", frame: { kind: "message", text: Buffer.from(JSON.stringify(HELLO_OK)) } });
  const attached = GOLDEN.stream_messages.find((text) => text.includes('"attached"')) ?? "";
  const standing = Buffer.from(attached.replace('"snapshot_bytes":5321', '"snapshot_bytes":0'));
  const out = isAttach ? hello : link.handle(0, { kind: "frame", frame: { kind: "message", text: standing } });
  switch (message.type) {
    case "resize":
      out.push(...link.resize({ cols: message.cols, rows: message.rows }));
      break;
    case "ack":
      out.push(...link.ack(message.offset));
      break;
    case "detach":
      out.push(...link.detach());
      break;
    case "input_state":
      // It asks when the program prints something after it was typed to.
      out.push(...link.accept(Buffer.from("x")).out);
      out.push(...link.handle(0, { kind: "frame", frame: { kind: "output", offset: 81_920, bytes: Buffer.from("x") } }));
  }
  const sent = out.flatMap((output) => (output.kind === "send" ? [output.bytes] : []));
  return Buffer.from(sent.at(-1) ?? []);
}

test("the greeting", async (context) => {
  const standIn = await StandIn.open(() => undefined);
  context.after(() => standIn.close());
  const client = await connect({ path: standIn.path, clientId: "cli-5f0c9a11" });
  await client.close();
  const [golden = ""] = GOLDEN.hello;
  const [hello] = standIn.hellos;
  const program = JSON.stringify((JSON.parse(golden) as { client: object }).client);
  const own = JSON.stringify({ name: "@abide/client", version: "0.1.0" });
  assert.equal(JSON.stringify(hello), golden.replace('"id":"1"', '"id":"0"').replace(program, own));
});

test("messages of the daemon read as they are", () => {
  const messages: [string[], typeof readControl | typeof readStream][] = [
    [GOLDEN.control_messages, readControl],
    [GOLDEN.stream_messages, readStream],
  ];
  for (const [texts, read] of messages) {
    for (const text of texts) {
      assert.equal(JSON.stringify(read(Buffer.from(text))), text);
    }
  }
  for (const text of ["", "{", "[]", "null", '{"type":1}', '{"type":"attached2"}', '\xff{"type":"ok"}']) {
    assert.equal(readControl(Buffer.from(text, "latin1")), undefined, text);
    assert.equal(readStream(Buffer.from(text, "latin1")), undefined, text);
  }
});

test("each text is what its type says, no field more and none less", async (context) => {
  const list = (type: string, texts: string[]): string => `export const _${index++}: ${type}[] = [${texts.join(",")}];`;
  let index = 0;
  const lines = [
    'import type * as wire from "../src/wire.js";',
    'type Request = { [T in wire.RequestType]: { type: T; id: string } & wire.Requests[T]["request"] }[wire.RequestType];',
    list("wire.Hello", GOLDEN.hello),
    list("wire.ControlMessage", GOLDEN.control_messages),
    list("wire.StreamMessage", GOLDEN.stream_messages),
    list("wire.StreamRequest", GOLDEN.stream_requests),
    list("Request", GOLDEN.control_requests),
    ...Object.entries(GOLDEN.answers).map(([type, texts]) => list(`wire.Requests["${type}"]["answer"]`, texts)),
  ];
  const folder = await mkdtemp("build/types-");
  context.after(() => rm(folder, { recursive: true, force: true }));
  const file = `${folder}/golden.ts`;
  await writeFile(file, lines.join("\n").replace("../src/wire.js", "../../src/wire.js"));
  const options = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--skipLibCheck"];
  const arguments_ = ["node_modules/typescript/bin/tsc", ...options, "--exactOptionalPropertyTypes", file];
  const checked = promisify(execFile)(process.execPath, arguments_);
  const output = await checked.then(() => "", (failure: { stdout: string }) => failure.stdout);
  assert.equal(output, "");
});

test("the texts are those of the daemon's tests, and the table that of its registry", async () => {
  const rust = await readFile("../../crates/abide-terminal/tests/protocol/each_message_has_golden_bytes.rs", "utf8");
  const joined = rust.replaceAll(/"#,\s*r#"/g, (between) => (between.includes("\n") ? '"#,\nr#"' : between));
  const texts = [...joined.matchAll(/^\s*r#"(\{"type":.*\})"#,?$/gm)].map(([, text = ""]) => text);
  const id = '"01K71XR4M00000000000000001"';
  const known = new Set(Object.values(GOLDEN).flat() as string[]);
  assert.deepEqual(texts.map((text) => text.replaceAll("@", id)).filter((text) => !known.has(text)), []);
  assert.ok(texts.length > 30, `${texts.length} texts were found`);

  const page = await readFile("../../docs/errors.md", "utf8");
  const [sessions = ""] = page.split("## Terminal sessions")[1]?.split("###") ?? [];
  const rows = [...sessions.matchAll(/^\| `([A-Z_]+)` \| ([a-z_]+) \|$/gm)].map(([, code, retry]) => [code, retry]);
  assert.deepEqual(Object.entries(retryClass), rows);
});

test("frames that carry bytes", () => {
  const output = Buffer.from([12, 0, 0, 0, 2, 0x2c, 1, 0, 0, 0, 0, 0, 0, 0x68, 0x69, 0x0a]);
  const input = inputFrame(2, 258, Buffer.from("x"));
  assert.deepEqual([...input], [14, 0, 0, 0, 3, 2, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0x78]);
  const snapshot = Buffer.from([11, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0x61, 0x62]);
  const message = framed('{"type":"detach"}');
  const expected: Frame[] = [
    { kind: "output", offset: 300, bytes: Buffer.from("hi\n") },
    { kind: "input", ownerEpoch: 2, inputOffset: 258, bytes: Buffer.from("x") },
    { kind: "snapshot", position: 1, bytes: Buffer.from("ab") },
    { kind: "message", text: Buffer.from('{"type":"detach"}') },
  ];
  const stream = Buffer.concat([output, input, snapshot, message]);
  const dice = new Dice(1);
  for (let round = 0; round < 500; round += 1) {
    const decoder = new Decoder();
    const frames: Frame[] = [];
    for (let at = 0; at < stream.length; ) {
      const to = round === 0 ? at + 1 : at + 1 + dice.below(stream.length - at);
      decoder.extend(stream.subarray(at, to));
      for (let frame = decoder.next(); frame !== undefined; frame = decoder.next()) {
        frames.push(frame);
      }
      at = to;
    }
    assert.deepEqual(frames, expected);
    assert.equal(decoder.isInsideFrame, false);
  }
});

test("frames that are none", () => {
  const broken: [number[], string][] = [
    [[0, 0, 0, 0], "FRAME_TOO_LARGE"],
    [[1, 0, 16, 0], "FRAME_TOO_LARGE"],
    [[1, 0, 0, 0, 0], "PROTO_MALFORMED"],
    [[1, 0, 0, 0, 1], "PROTO_MALFORMED"],
    [[2, 0, 0, 0, 5, 0], "PROTO_MALFORMED"],
    [[9, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0], "PROTO_MALFORMED"],
    [[10, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0x20, 0, 1], "PROTO_MALFORMED"],
  ];
  for (const [bytes, code] of broken) {
    const decoder = new Decoder();
    decoder.extend(Uint8Array.from(bytes));
    assert.throws(() => decoder.next(), (error) => error instanceof AbideError && error.code === code, String(bytes));
  }
});
