// Each call does with a real daemon what its documentation says, and fails with the code that it names.

import assert from "node:assert/strict";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";

import { AbideError, NotApplied, connect } from "../src/index.js";
import type { Client, ClientState, ErrorCode, Stream, StreamEvent } from "../src/index.js";
import { soon } from "./harness/deadline.js";
import { Place } from "./harness/place.js";

/** A program that writes what it reads, as it is. */
const CAT = { command: "sh", args: ["-c", "stty -echo -icanon min 1; echo ready; exec cat"], cols: 80, rows: 24 };

interface Scene {
  place: Place;
  client: Client;
}

/** A test with a daemon of its own and a client of it. */
function scene(name: string, play: (scene: Scene) => Promise<void>): void {
  test(name, async (context) => {
    const place = await Place.withDaemon();
    context.after(() => place.leave());
    const client = await connect({ path: place.path });
    context.after(() => client.close());
    await soon(name, play({ place, client }));
  });
}

function code(expected: ErrorCode): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof AbideError);
    assert.equal(error.code, expected, error.message);
    return true;
  };
}

/** Events up to the first that is wanted, that one included. */
async function until(stream: Stream, wanted: (event: StreamEvent) => boolean): Promise<StreamEvent[]> {
  const events: StreamEvent[] = [];
  const iterator = stream[Symbol.asyncIterator]();
  for (;;) {
    const { value, done } = await iterator.next();
    if (done === true) {
      assert.fail(`the stream ended after ${events.map(({ type }) => type).join()}`);
    }
    events.push(value);
    if (wanted(value)) {
      return events;
    }
  }
}

function text(events: StreamEvent[]): string {
  return Buffer.concat(events.flatMap((event) => (event.type === "chunk" ? [event.bytes] : []))).toString();
}

/** The output of a stream up to this text. */
async function read(stream: Stream, end: string): Promise<string> {
  let seen = "";
  await until(stream, (event) => {
    seen += text([event]);
    return seen.includes(end);
  });
  return seen;
}

scene("a session is created once, told of, ended and removed", async ({ client }) => {
  const key = "test:once";
  const creates = await Promise.all(Array.from({ length: 10 }, () => client.create({ ...CAT, key, labels: { a: "b" } })));
  const [{ session } = assert.fail()] = creates;
  assert.equal(creates.filter((created) => created.created).length, 1);
  assert.equal(new Set(creates.map((created) => created.session.id)).size, 1);
  assert.equal(session.owner, client.clientId);

  assert.deepEqual((await client.list({ labels: { a: "b" } })).sessions.map(({ id }) => id), [session.id]);
  assert.deepEqual((await client.list({ states: ["Finalized"] })).sessions, []);
  const inspected = await client.inspect(session.name);
  assert.equal(inspected.session.pid, session.pid);
  assert.deepEqual(inspected.streams, []);
  assert.deepEqual(await client.resize(session.id, 100, 30), { cols: 100, rows: 30 });

  await assert.rejects(client.remove(session.id), code("SESSION_RUNNING"));
  const stream = await client.attach(session.id, { onLag: "follow" });
  const killed = await client.kill(session.id, { grace_ms: 1_000 });
  assert.equal(killed.already, false);
  const events = await until(stream, ({ type }) => type === "detached");
  const exited = events.find((event) => event.type === "exited");
  assert.ok(exited !== undefined && "signal" in exited.exit);
  assert.equal((await client.kill(session.id)).already, true);
  await client.remove(session.id);
  await assert.rejects(client.inspect(session.id), code("SESSION_GONE"));
});

scene("a signal, a recovery report, and requests that cannot be met", async ({ client }) => {
  const args = ["-c", "trap 'echo caught; exit 3' INT; echo ready; while :; do sleep 0.05; done"];
  const { session } = await client.create({ command: "sh", args, cols: 80, rows: 24 });
  const stream = await client.attach(session.id, { from: { offset: 0 }, onLag: "follow" });
  await read(stream, "ready");
  await client.signal(session.id, "SIGINT", { target: "leader" });
  const events = await until(stream, ({ type }) => type === "exited");
  assert.ok(text(events).includes("caught"));
  const last = events.at(-1);
  assert.deepEqual(last?.type === "exited" && last.exit, { code: 3 });
  await assert.rejects(client.recover(session.id), code("BAD_REQUEST"));
  const report = await client.recoveryReport();
  assert.equal(report.daemon_epoch, client.daemon?.daemon_epoch);

  await assert.rejects(client.inspect("nobody"), code("SESSION_NOT_FOUND"));
  await assert.rejects(client.create({ command: "no-such-program", cols: 80, rows: 24 }), code("COMMAND_NOT_FOUND"));
  await assert.rejects(client.create({ ...CAT, name: "-" }), code("BAD_REQUEST"));
  await assert.rejects(client.attach("nobody", { onLag: "follow" }), code("SESSION_NOT_FOUND"));
});

scene("input is applied, and what a change of owner cut off is told", async ({ place, client }) => {
  const { session } = await client.create(CAT);
  const stream = await client.attach(session.id, { mode: "owner", from: { offset: 0 }, onLag: "follow" });
  assert.equal(stream.mode, "owner");
  await read(stream, "ready");
  await stream.write("");
  await stream.write("hello ");
  await stream.write(Buffer.from("wörld\n"));
  assert.equal(stream.inputApplied, Buffer.byteLength("hello wörld\n"));
  assert.equal(await read(stream, "\n").then((seen) => seen.endsWith("\n")), true);
  // More than a window.
  const bulk = Buffer.alloc(300_000, "x");
  const [written, echoed] = await Promise.all([stream.write(bulk), readBytes(stream, bulk.length)]);
  assert.deepEqual([written, echoed], [undefined, bulk.length]);

  const other = await connect({ path: place.path });
  await assert.rejects(other.kill(session.id), code("ROLE_FORBIDDEN"));
  await assert.rejects(other.attach(session.id, { mode: "owner", onLag: "follow" }), code("SESSION_OWNED"));
  const observer = await other.attach(session.id, { from: "live", onLag: "follow" });
  await assert.rejects(observer.write("x"), code("ROLE_FORBIDDEN"));
  let told = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    told += (await cutOff(client, stream, other, observer)) ? 1 : 0;
  }
  assert.ok(told > 0, "the count of what was applied is told, as a rule");
  await other.close();
  await assert.rejects(other.list(), code("DETACHED"));
});

/** How often a session changes hands under input. */
const ROUNDS = 3;

/** Another client takes the session while input waits, and gives it back; whether the count of that input was told. */
async function cutOff(client: Client, stream: Stream, other: Client, observer: Stream): Promise<boolean> {
  const { session } = stream;
  // A stopped program reads nothing: what is typed now waits, until another client takes the session.
  await client.signal(session, "SIGSTOP", { target: "leader" });
  const late = stream.write(Buffer.alloc(200_000, "y")).then(() => undefined, (reason: unknown) => reason);
  const { owner_epoch } = await other.takeover(session);
  const error = await late;
  assert.ok(error instanceof AbideError);
  const isChange = (event: StreamEvent): boolean =>
    event.type === "ownership_changed" && event.owner_epoch === owner_epoch;
  await until(stream, isChange);
  assert.deepEqual([stream.mode, stream.owner], ["observer", other.clientId]);
  await until(observer, isChange);
  assert.equal(observer.mode, "owner");
  await other.signal(session, "SIGCONT", { target: "leader" });
  const [, seen] = await Promise.all([observer.write("mine"), read(stream, "mine")]);
  const applied = seen.length - "mine".length;
  assert.equal(seen, `${"y".repeat(applied)}mine`);
  assert.ok(applied < 200_000, `${applied} bytes were applied`);
  // Where the program's side does not answer in time nobody can tell.
  assert.ok(error instanceof NotApplied ? error.from === applied : error.code === "OUTCOME_UNKNOWN", String(error));
  await assert.rejects(client.release(session), code("ROLE_FORBIDDEN"));
  await other.release(session, { to: client.clientId });
  await until(stream, (event) => event.type === "ownership_changed" && event.owner === client.clientId);
  await Promise.all([stream.write("ours"), read(stream, "ours")]);
  await until(observer, (event) => event.type === "ownership_changed" && event.owner === client.clientId);
  return error instanceof NotApplied;
}

async function readBytes(stream: Stream, count: number): Promise<number> {
  let seen = 0;
  const iterator = stream[Symbol.asyncIterator]();
  while (seen < count) {
    const { value, done } = await iterator.next();
    assert.ok(done !== true, "the stream goes on");
    seen += value.type === "chunk" ? value.bytes.length : 0;
  }
  return seen;
}

scene("a stream brings a picture, sizes, the end; it is resumed by its position", async ({ client }) => {
  const { session } = await client.create(CAT);
  const stream = await client.attach(session.id, { mode: "owner", cols: 100, rows: 30, onLag: "follow" });
  const [first] = await until(stream, () => true);
  assert.ok(first?.type === "snapshot");
  assert.deepEqual([first.cols, first.rows], [100, 30]);
  stream.resize(90, 20);
  const events = await until(stream, (event) => event.type === "resized" && event.cols === 90);
  assert.equal(events.filter((event) => event.type === "resized").length, 1);
  await stream.write("one");
  await read(stream, "one");
  // The event in hand is processed when the next one is asked for.
  const before = stream.offset;
  await stream.write("two");
  await read(stream, "two");
  const { position } = stream;
  assert.ok(position.offset >= before && position.epoch !== undefined);
  await stream.detach();
  await assert.rejects(stream.write("x"), code("ROLE_FORBIDDEN"));

  const resumed = await client.attach(session.id, { mode: "owner", from: position, onLag: "follow" });
  assert.match(await read(resumed, "two"), /two$/);
  await resumed.write("three");
  for await (const event of resumed) {
    // Another stream counts its input anew: that begins an owner epoch.
    if (event.type === "ownership_changed") {
      continue;
    }
    assert.equal(text([event]), "three");
    break;
  }
  for await (const event of resumed) {
    assert.fail(`a loop that is left detaches, but there was ${event.type}`);
  }
  assert.deepEqual((await client.inspect(session.id)).streams, []);
});

scene("the exit of a program is told with all of its output", async ({ client }) => {
  const { session } = await client.create({ command: "sh", args: ["-c", "read line; echo got $line; exit 7"], cols: 80, rows: 24 });
  const stream = await client.attach(session.id, { mode: "owner", from: { offset: 0 }, onLag: "follow" });
  // The program is gone before the count of its input is told, or after: the one or the other, and nothing else.
  const typed = stream.write("bye\n").catch(code("OUTCOME_UNKNOWN"));
  const events: StreamEvent[] = [];
  for await (const event of stream) {
    events.push(event);
  }
  await typed;
  assert.match(text(events), /got bye\r\n$/);
  assert.deepEqual(events.slice(-2).map(({ type }) => type), ["exited", "detached"]);
  const [exited, detached] = events.slice(-2);
  assert.deepEqual(exited?.type === "exited" && exited.exit, { code: 7 });
  assert.equal(detached?.type === "detached" && detached.code, "SESSION_EXITED");
  // The history of an ended session, up to a place.
  const again = await client.attach(session.id, { from: { offset: 0 }, onLag: "follow", until: 3 });
  assert.equal(text(await until(again, ({ type }) => type === "detached")).length, 3);
});

scene("a slow reader is not fed faster than it reads, and gets all", async ({ client }) => {
  const bytes = 100_000_000;
  const args = ["-c", `stty raw; read go; head -c ${bytes} /dev/zero`];
  const { session } = await client.create({ command: "sh", args, cols: 80, rows: 24, retention_bytes: 4 * bytes });
  const stream = await client.attach(session.id, { mode: "owner", from: { offset: 0 }, onLag: "follow" });
  const before = process.memoryUsage().rss;
  // Nobody reads: the socket fills up, and the process does not grow by what the program prints.
  const typed = stream.write("go\n");
  let end = 0;
  while (end < bytes) {
    end = (await client.inspect(session.id)).session.end_offset;
  }
  const grown = process.memoryUsage().rss - before;
  assert.ok(grown < bytes / 2, `grown by ${grown} bytes`);
  assert.ok((await readBytes(stream, bytes)) >= bytes);
  await typed;
});

scene("a daemon that is replaced is a pause, one that is stopped is the end", async ({ place, client }) => {
  const states: ClientState[] = [];
  client.on("state", (state) => states.push(state));
  const { session } = await client.create(CAT);
  const stream = await client.attach(session.id, { mode: "owner", from: { offset: 0 }, onLag: "follow" });
  await read(stream, "ready");
  const epoch = client.daemon?.daemon_epoch ?? 0;
  await client.shutdown("keep", { restart: {} });
  await stream.write("over a restart");
  await read(stream, "over a restart");
  const { session: after } = await client.inspect(session.id);
  assert.equal(after.pid, session.pid);
  assert.ok((client.daemon?.daemon_epoch ?? 0) > epoch);

  await place.run("stop");
  const events = await until(stream, ({ type }) => type === "detached");
  const last = events.at(-1);
  assert.equal(last?.type === "detached" && last.code, "DAEMON_STOPPING");
  await assert.rejects(client.list(), code("DAEMON_STOPPING"));
  assert.deepEqual(states.map(({ state }) => state), ["away", "connected", "ended"]);
});

scene("a second client of the same id takes the first one's place", async ({ place, client }) => {
  const ended = new Promise<ClientState>((resolve) => client.on("state", resolve));
  const second = await connect({ path: place.path, clientId: client.clientId });
  const state = await ended;
  assert.equal(state.state === "ended" && state.error.code, "CLIENT_REPLACED");
  await assert.rejects(client.list(), code("CLIENT_REPLACED"));
  assert.deepEqual(await second.list(), { sessions: [] });
  await second.close();
});

test("nobody answers", async (context) => {
  const place = await Place.make();
  context.after(() => place.leave());
  await assert.rejects(connect({ path: place.path }), code("DAEMON_UNREACHABLE"));
  const aborted = AbortSignal.abort(new Error("not now"));
  await assert.rejects(connect({ path: place.path, signal: aborted }), /not now/);
  // Somebody accepts and says nothing: it is given up when the caller says so.
  const path = join(place.root, "silent.sock");
  const silent = createServer().listen({ path });
  const abort = new AbortController();
  silent.on("connection", (socket) => {
    socket.on("data", () => abort.abort(new Error("enough")));
    context.after(() => socket.destroy());
  });
  await assert.rejects(connect({ path, signal: abort.signal }), /enough/);
  silent.close();
});

test("a daemon is started where none answers, and again when it died", async (context) => {
  // Its socket's path is longer than an address holds.
  const place = await Place.make("x".repeat(100));
  context.after(() => place.leave());
  let starts = 0;
  const startDaemon = async (): Promise<void> => {
    starts += 1;
    await place.startDaemon();
  };
  const client = await soon("a daemon", connect({ path: place.path, startDaemon }));
  context.after(() => client.close());
  const { session } = await client.create(CAT);
  await place.killDaemon();
  const { session: after } = await soon("another daemon", client.inspect(session.id));
  assert.equal(after.pid, session.pid);
  assert.equal(starts, 2);
});
