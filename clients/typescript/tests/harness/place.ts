import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

/** The program under test. */
export const ABIDE = resolve(process.env["ABIDE"] ?? "../../target/release/abide");

/** Whether the larger numbers are wanted. */
const NIGHTLY = process.env["ABIDE_NIGHTLY"] === "1";

/** How often something is done. */
export function size(ci: number, nightly: number): number {
  return NIGHTLY ? nightly : ci;
}

/** A user of one's own for each test: a state directory, the daemon in it, and nothing left of them afterwards. */
export class Place {
  readonly #root: string;
  #daemon: ChildProcess | undefined;

  private constructor(root: string) {
    this.#root = root;
  }

  /** Directories without a daemon; `below` makes their paths longer. */
  static async make(below = ""): Promise<Place> {
    if (!existsSync(ABIDE)) {
      throw new Error(`${ABIDE} is missing: run "cargo build --release -p abide", or set ABIDE`);
    }
    return new Place(await mkdtemp(join(tmpdir(), `abide-ts-${below}`)));
  }

  /** Directories and a daemon that serves. */
  static async withDaemon(): Promise<Place> {
    const place = await Place.make();
    await place.startDaemon();
    return place;
  }

  /** The environment of all that is started here. */
  get env(): NodeJS.ProcessEnv {
    return {
      PATH: process.env["PATH"],
      HOME: this.#root,
      XDG_STATE_HOME: join(this.#root, "state"),
      XDG_CONFIG_HOME: join(this.#root, "config"),
      SHELL: "/bin/sh",
      PS1: "$ ",
      LANG: "C.UTF-8",
      ABIDE_LOG: "warn",
    };
  }

  /** A directory that is there. */
  get root(): string {
    return this.#root;
  }

  /** The daemon's socket. */
  get path(): string {
    return join(this.#root, "state/abide/run/terminal.sock");
  }

  /** Starts a daemon; it serves when this returns. */
  async startDaemon(): Promise<void> {
    const daemon = spawn(ABIDE, ["up", "--foreground"], { env: this.env, stdio: ["ignore", "pipe", "inherit"] });
    this.#daemon = daemon;
    const [ready] = (await once(createInterface(daemon.stdout), "line")) as [string];
    if (ready === "") {
      throw new Error("the daemon did not start");
    }
  }

  /** `kill -9`; the daemon is gone when this returns. */
  async killDaemon(): Promise<void> {
    const daemon = this.#daemon;
    this.#daemon = undefined;
    if (daemon?.exitCode === null && daemon.signalCode === null) {
      const exit = once(daemon, "exit");
      daemon.kill("SIGKILL");
      await exit;
    }
  }

  /** Runs `abide` to its end; its status. */
  async run(...args: string[]): Promise<number | null> {
    const child = spawn(ABIDE, args, { env: this.env, stdio: "ignore" });
    const [status] = (await once(child, "exit")) as [number | null];
    return status;
  }

  /** Ends every program and the daemon, and removes the directories. */
  async leave(): Promise<void> {
    await this.run("up");
    await this.run("stop", "--terminate");
    await this.killDaemon();
    await rm(this.#root, { recursive: true, force: true });
  }
}
