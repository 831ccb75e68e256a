// Events come in order and each once, over connections that are lost; what a daemon refuses ends the subscription.

import assert from "node:assert/strict";
import { test } from "node:test";

import { AbideError, connect } from "../src/index.js";
import type { Happened } from "../src/index.js";
import { soon } from "./harness/deadline.js";
import { StandIn } from "./harness/stand-in.js";

const EVENTS = 40;

function event(event_number: number): object {
  return { type: "event", event_number, at: 1, event: "started", session: "s", data: { pid: event_number } };
}

test("over lost connections", async (context) => {
  const asked: unknown[] = [];
  const standIn = await StandIn.open((message, say, cut) => {
    if (message.type !== "subscribe") {
      say({ type: "ok", id: message["id"], result: { sessions: [] } });
      return;
    }
    asked.push(message["from_event"]);
    const from = typeof message["from_event"] === "number" ? message["from_event"] : 100;
    say({ type: "ok", id: message["id"], result: { from, head: from } });
    // A few at a time, others are left out; then the connection is lost.
    for (let number = from + 1; number <= Math.min(from + 7, 100 + EVENTS); number += 1) {
      say(number % 5 === 0 ? { type: "event", event: "progress", event_number: number } : event(number));
    }
    if (from < 100 + EVENTS) {
      cut();
    }
  });
  context.after(() => standIn.close());
  const client = await connect({ path: standIn.path });
  context.after(() => client.close());
  const events = await soon("a subscription", client.subscribe({ sessions: ["s"] }));
  assert.equal(events.number, 100);
  const seen: Happened[] = [];
  await soon(
    "every event",
    (async () => {
      for await (const happened of events) {
        assert.equal(events.number, seen.at(-1)?.event_number ?? 100, "the one in hand is not processed yet");
        seen.push(happened);
        if (happened.event_number === 100 + EVENTS - 1) {
          break;
        }
      }
    })(),
  );
  const expected = Array.from({ length: EVENTS }, (_, at) => 101 + at).filter((number) => number % 5 !== 0);
  assert.deepEqual(seen.map(({ event_number }) => event_number), expected);
  assert.deepEqual(asked.slice(0, 3), [undefined, 107, 114]);
  // A subscription has a client id of its own: the client's connection is not replaced by it.
  assert.ok(new Set(standIn.hellos.map((hello) => hello["client_id"])).size === 2);
  assert.deepEqual(await client.list(), { sessions: [] });
});

test("what is not kept any more is named", async (context) => {
  const standIn = await StandIn.open((message, say) => {
    const details = { base_event: 50 };
    say({ type: "error", id: message["id"], code: "OFFSET_TRIMMED", message: "", retry: "resume", details });
  });
  context.after(() => standIn.close());
  const client = await connect({ path: standIn.path });
  context.after(() => client.close());
  await assert.rejects(soon("a refusal", client.subscribe({ from_event: 1 })), (error) => {
    assert.ok(error instanceof AbideError);
    assert.deepEqual([error.code, error.retry, error.number("base_event")], ["OFFSET_TRIMMED", "resume", 50]);
    return true;
  });
});
