// The example of the README does what it shows, for a user who has the program in the PATH and no daemon yet.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";

import { ABIDE, Place } from "./harness/place.js";

test("the first example of the README", async (context) => {
  const place = await Place.make();
  context.after(() => place.leave());
  const [, example = ""] = /```js\n([^]*?)```/.exec(await readFile("README.md", "utf8")) ?? [];
  const library = pathToFileURL(resolve("build/src/index.js")).href;
  const file = join(place.root, "example.mjs");
  await writeFile(file, example.replace("@abide/client", library));
  const env = { ...place.env, PATH: `${dirname(ABIDE)}:${process.env["PATH"]}` };
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [file], { env, timeout: 60_000 });
  assert.equal(stdout, "hello\r\ngot hello\r\n{ signal: 'SIGHUP' }\n");
  assert.equal(stderr, "");
});
