import type { AbideError } from "./error.js";
import type { Frame } from "./frame.js";

// What a link, which has the rules, and its shell, which has the socket and the clock, say to each other.

/** What happens to a link. */
export type LinkInput =
  /** The dial led to a socket. */
  | { kind: "connected" }
  /** The dial led nowhere. */
  | { kind: "unreachable" }
  /** A frame came. */
  | { kind: "frame"; frame: Frame }
  /** The socket ended or failed, or what came over it was no frame. */
  | { kind: "closed" }
  /** The time of `pollTimeout` has come. */
  | { kind: "timeout" };

/** What the shell does about the socket. */
export type SocketOutput =
  /** Connect; first start a daemon if it is asked for. */
  | { kind: "dial"; startDaemon: boolean }
  /** Write these bytes. */
  | { kind: "send"; bytes: Uint8Array }
  | { kind: "close" };

/** The link is over. */
export interface LinkEnd {
  kind: "ended";
  error: AbideError;
  /** True: an event told it, as what the caller or the peer wanted; false: it is a failure. */
  told: boolean;
}

/** Rules without a socket and a clock. Times are milliseconds of the shell's clock. */
export interface Link<Told> {
  /** When the input `timeout` is due. */
  pollTimeout(): number | undefined;
  /** Takes one input; what follows from it, in the order in which it must happen. */
  handle(now: number, input: LinkInput): (SocketOutput | Told)[];
}
