import { open } from "node:fs/promises";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { basename, dirname } from "node:path";

import { Decoder } from "./frame.js";
import type { Frame } from "./frame.js";
import type { Link, LinkInput, SocketOutput } from "./link.js";

/** Longest path that a socket address holds. */
const PATH_BYTES_MAX = 107;

/** Where the daemon is, and how to start one. */
export interface Address {
  /** Its socket. */
  readonly path: string;
  /** Starts a daemon and returns when it serves or has failed; undefined: this client never starts one. */
  readonly start?: () => Promise<void>;
}

/** Milliseconds of a clock that nobody sets. */
export function now(): number {
  return performance.now();
}

/** Connects to a socket whose path may be longer than an address holds: then through a descriptor of its directory. */
async function dial(path: string): Promise<Socket> {
  if (Buffer.byteLength(path) <= PATH_BYTES_MAX) {
    return connected(path);
  }
  const directory = await open(dirname(path));
  try {
    return await connected(`/proc/self/fd/${directory.fd}/${basename(path)}`);
  } finally {
    await directory.close();
  }
}

function connected(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      resolve(socket);
    });
  });
}

/**
 * The socket and the clock of a link: at most one connection, or one dial, at a time. It carries out what the link says
 * about its socket, and hands everything else on.
 */
export class Transport<Told extends { kind: string }> {
  readonly #address: Address;
  readonly #link: Link<Told>;
  readonly #handle: (output: Told) => void;
  #socket: Socket | undefined;
  #decoder = new Decoder();
  #timer: NodeJS.Timeout | undefined;
  #isPaused = false;
  /** A dial that was given up does not count when it ends. */
  #dials = 0;
  #outputs: (SocketOutput | Told)[] = [];
  #isRunning = false;

  constructor(
    address: Address,
    link: Link<Told>,
    handle: (output: Told) => void,
  ) {
    this.#address = address;
    this.#link = link;
    this.#handle = handle;
    this.run([]);
  }

  /** Carries out what the link said, in order, and sets the clock. */
  run(outputs: (SocketOutput | Told)[]): void {
    this.#outputs.push(...outputs);
    if (this.#isRunning) {
      return;
    }
    this.#isRunning = true;
    try {
      for (let output = this.#outputs.shift(); output !== undefined; output = this.#outputs.shift()) {
        this.#carryOut(output);
      }
    } finally {
      // A listener of the caller may throw.
      this.#isRunning = false;
      this.#setTimer();
    }
  }

  /** Stops reading from the socket, and goes on: what waits there is the daemon's to count. */
  set paused(isPaused: boolean) {
    if (isPaused !== this.#isPaused) {
      this.#isPaused = isPaused;
      if (isPaused) {
        this.#socket?.pause();
      } else {
        this.#socket?.resume();
        // What was read before the pause and not looked at.
        setImmediate(() => this.#frames(this.#socket));
      }
    }
  }

  #carryOut(output: SocketOutput | Told): void {
    if (isSocketOutput(output)) {
      switch (output.kind) {
        case "dial":
          void this.#dial(output.startDaemon);
          break;
        case "send":
          this.#socket?.write(output.bytes);
          break;
        case "close":
          this.#close();
      }
    } else {
      this.#handle(output);
    }
  }

  #input(input: LinkInput): void {
    this.run(this.#link.handle(now(), input));
  }

  #setTimer(): void {
    clearTimeout(this.#timer);
    const due = this.#link.pollTimeout();
    if (due !== undefined) {
      this.#timer = setTimeout(() => this.#input({ kind: "timeout" }), Math.max(0, Math.ceil(due - now())));
    }
  }

  async #dial(startDaemon: boolean): Promise<void> {
    this.#dials += 1;
    const number = this.#dials;
    let socket: Socket | undefined;
    try {
      if (startDaemon) {
        // A start that failed may have lost a race: whether somebody serves is what the connect finds out.
        await this.#address.start?.().catch(() => undefined);
      }
      socket = await dial(this.#address.path);
    } catch {
      socket = undefined;
    }
    if (number !== this.#dials) {
      socket?.destroy();
    } else if (socket === undefined) {
      this.#input({ kind: "unreachable" });
    } else {
      this.#open(socket);
    }
  }

  #open(socket: Socket): void {
    this.#socket = socket;
    this.#decoder = new Decoder();
    socket.on("data", (bytes: Buffer) => {
      if (socket === this.#socket) {
        this.#decoder.extend(bytes);
        this.#frames(socket);
      }
    });
    // An error is followed by a close.
    socket.on("error", () => undefined);
    socket.on("close", () => this.#closed(socket));
    socket.on("end", () => this.#closed(socket));
    if (this.#isPaused) {
      socket.pause();
    }
    this.#input({ kind: "connected" });
  }

  #frames(socket: Socket | undefined): void {
    while (socket !== undefined && socket === this.#socket && !this.#isPaused) {
      const frame = this.#frame();
      if (frame === "broken") {
        this.#closed(socket);
      } else if (frame === undefined) {
        return;
      } else {
        this.#input({ kind: "frame", frame });
      }
    }
  }

  #frame(): Frame | "broken" | undefined {
    try {
      return this.#decoder.next();
    } catch {
      // What came is no frame: the connection is of no more use.
      return "broken";
    }
  }

  #closed(socket: Socket | undefined): void {
    if (socket !== undefined && socket === this.#socket) {
      this.#close();
      this.#input({ kind: "closed" });
    }
  }

  #close(): void {
    this.#dials += 1;
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.destroy();
  }
}

function isSocketOutput<Told extends { kind: string }>(output: SocketOutput | Told): output is SocketOutput {
  return output.kind === "dial" || output.kind === "send" || output.kind === "close";
}
