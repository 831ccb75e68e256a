// The daemon is killed while somebody types: each line reaches the program exactly once, and comes back exactly once.

import assert from "node:assert/strict";
import { test } from "node:test";

import { connect } from "../src/index.js";
import type { ClientState, StreamEvent } from "../src/index.js";
import { soon } from "./harness/deadline.js";
import { Place, size } from "./harness/place.js";
import { Dice } from "./harness/random.js";

const KILLS = size(20, 200);
/** Lines that are ahead of what came back, so that some are always under way. */
const AHEAD_BYTES = 2_000;

test(`keystrokes arrive once over ${KILLS} kills of the daemon`, async (context) => {
  const place = await Place.withDaemon();
  context.after(() => place.leave());
  const client = await connect({ path: place.path });
  const states: ClientState["state"][] = [];
  client.on("state", ({ state }) => states.push(state));
  // What the program reads is what counts: without echo, the output is exactly that.
  const args = ["-c", "stty -echo -icanon min 1; echo ready; exec cat"];
  const { session } = await client.create({ name: "typed", command: "sh", args, cols: 80, rows: 24 });
  const stream = await client.attach("typed", { mode: "owner", from: { offset: 0 }, onLag: "follow" });

  const dice = new Dice(7);
  const applied: Promise<void>[] = [];
  let [kills, lines, written, output] = [0, 0, "", ""];
  let renewing: Promise<void> | undefined;
  let nextKill = dice.below(40);

  const renew = async (): Promise<void> => {
    await place.killDaemon();
    await place.startDaemon();
    kills += 1;
    renewing = undefined;
  };
  const type = (): void => {
    while (output.startsWith("ready") && written.length < output.length + AHEAD_BYTES && kills < KILLS) {
      const line = `line ${lines}\n`;
      lines += 1;
      written += line;
      applied.push(stream.write(line));
    }
  };
  const isDone = (): boolean =>
    kills === KILLS && renewing === undefined && output.length >= `ready\r\n${written}`.length + lines;
  const take = (event: StreamEvent): void => {
    assert.ok(["chunk", "resized", "ownership_changed"].includes(event.type), event.type);
    if (event.type === "chunk") {
      assert.equal(event.offset, output.length, "output is dense");
      output += Buffer.from(event.bytes).toString("latin1");
      nextKill -= 1;
    }
    // The next one strikes both connections.
    if (nextKill < 0 && renewing === undefined && kills < KILLS && states.at(-1) !== "away") {
      nextKill = dice.below(40);
      renewing = renew();
    }
    type();
  };

  const events = stream[Symbol.asyncIterator]();
  while (!isDone()) {
    const { value } = await soon("output", Promise.resolve(events.next()));
    assert.ok(value, "the stream goes on");
    take(value);
  }
  await soon("every write to be applied", Promise.all(applied));

  assert.equal(output, `ready\r\n${written.replaceAll("\n", "\r\n")}`, "each line once, in order");
  assert.equal(stream.inputApplied, written.length);
  const { session: after } = await client.inspect(session.id);
  assert.equal(after.pid, session.pid, "the same program");
  assert.equal(after.owner, client.clientId);
  const losses = states.filter((state) => state === "away").length;
  assert.equal(losses, KILLS, "the client noticed each kill");
  assert.ok(lines >= KILLS * 5, `only ${lines} lines were typed`);
  context.diagnostic(`${kills} kills, ${lines} lines typed, ${output.length} bytes came back`);
  await client.close();
});
