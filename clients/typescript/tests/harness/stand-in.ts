import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Decoder, messageFrame } from "../../src/frame.js";
import { HELLO_OK, messageOf } from "./wire.js";

type Message = Record<string, unknown> & { type: string };
type Answer = (message: Message, say: (message: object) => void, cut: () => void) => void;

/** A peer on a socket that greets, remembers every message after the greeting, and answers as it is told to. */
export class StandIn {
  readonly texts: string[] = [];
  readonly hellos: Message[] = [];
  readonly path: string;
  readonly #directory: string;
  readonly #server: Server;
  readonly #answer: Answer;

  private constructor(directory: string, answer: Answer) {
    this.#directory = directory;
    this.path = join(directory, "terminal.sock");
    this.#answer = answer;
    this.#server = createServer((socket) => this.#serve(socket));
  }

  /** Serves until it is closed. */
  static async open(answer: Answer): Promise<StandIn> {
    const directory = await mkdtemp(join(tmpdir(), "abide-ts-"));
    const standIn = new StandIn(directory, answer);
    await new Promise<void>((resolve) => standIn.#server.listen({ path: standIn.path }, resolve));
    return standIn;
  }

  #serve(socket: Socket): void {
    const decoder = new Decoder();
    const say = (message: object): void => void socket.write(messageFrame(message));
    let greeted = false;
    socket.on("error", () => undefined);
    socket.on("data", (bytes: Buffer) => {
      decoder.extend(bytes);
      for (let frame = decoder.next(); frame !== undefined; frame = decoder.next()) {
        const message = messageOf(frame);
        if (greeted) {
          this.texts.push(frame.kind === "message" ? Buffer.from(frame.text).toString("utf8") : frame.kind);
          this.#answer(message, say, () => socket.end());
        } else {
          greeted = true;
          this.hellos.push(message);
          say({ ...HELLO_OK, id: message["id"] });
        }
      }
    });
  }

  /** Nothing is left of it. */
  async close(): Promise<void> {
    this.#server.close();
    await rm(this.#directory, { recursive: true, force: true });
  }
}
