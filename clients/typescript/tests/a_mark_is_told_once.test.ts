// A stream that comes back is sent the marks where it goes on once more: its caller is told of each once.

import assert from "node:assert/strict";
import { test } from "node:test";

import type { StreamEvent } from "../src/event.js";
import { Told } from "../src/told.js";

const RESIZED: StreamEvent = { type: "resized", offset: 5, cols: 90, rows: 20 };
const CHANGED: StreamEvent = {
  type: "ownership_changed",
  offset: 5,
  owner: "a",
  owner_epoch: 2,
  cause: "claimed",
  mode: "owner",
};
const EXITED: StreamEvent = { type: "exited", offset: 5, exit: { code: 0 }, exited_at: 1 };
const RESTORED: StreamEvent = {
  type: "restored",
  offset: 5,
  incarnation: 2,
  at: 1,
  as: "shell",
  code: "HOLDER_LOST",
};
const HOLE: StreamEvent = { type: "hole", offset: 5, code: "JOURNAL_FAILED" };

test("each mark once", () => {
  const told = new Told();
  for (const event of [RESIZED, CHANGED, EXITED, RESTORED, HOLE]) {
    assert.deepEqual([told.isNews(event), told.isNews(event)], [true, false], event.type);
  }
  assert.ok(told.isNews({ ...RESIZED, cols: 91 }) && told.isNews(RESIZED), "a size that comes back is news");
  assert.ok(told.isNews({ ...CHANGED, owner_epoch: 3 }) && !told.isNews(CHANGED), "what is past is none");
  assert.ok(told.isNews(EXITED), "another program may end too");
  assert.ok(told.isNews({ ...HOLE, offset: 6 }));
  assert.ok(told.isNews({ ...HOLE, lost_bytes: 3 }) && told.isNews({ ...HOLE, lost_bytes: 2 }), "its rest");
});

test("what a picture shows is not told again", () => {
  const told = new Told();
  told.drawn({ cols: 90, rows: 20 }, 2, 2);
  assert.deepEqual([RESIZED, CHANGED, RESTORED].map((event) => told.isNews(event)), [false, false, false]);
});
