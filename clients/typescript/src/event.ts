import type { AbideError } from "./error.js";
import type { Detached, Exited, Hole, OwnershipChanged, Resized, Restored, Time } from "./wire.js";

/** Bytes of the program, as it wrote them. */
export interface Chunk {
  type: "chunk";
  /** Offset of the first byte. */
  offset: number;
  /** At least one. The memory is not used again by the stream. */
  bytes: Uint8Array;
}

/**
 * A picture of the screen as it is at `offset`: codes that rebuild it on a terminal of this size, in any state. Output
 * goes on at `offset`. It comes whole or not at all.
 */
export interface Snapshot {
  type: "snapshot";
  offset: number;
  bytes: Uint8Array;
  cols: number;
  rows: number;
}

/** Why the stream did not go on where it stood. */
export type LagCause =
  /** The stream was too far behind (`onLag: "resync"`). */
  | "slow"
  /** The output there is not kept any more. */
  | "trimmed"
  /** A power cut or a failed sync took back output that was told. */
  | "taken_back"
  /** The output there cannot be read; a `Hole` before this event says how much. */
  | "unreadable";

/**
 * The stream goes on at `to` rather than at `from`, where it stood. With `to` above `from` the output between them is
 * skipped. With `cause` `taken_back` what was told from `resumeOffset` on does not stand: forget it.
 */
export interface Lagged {
  type: "lagged";
  from: number;
  to: number;
  cause: LagCause;
  /** With `taken_back`: the end of what was told and still stands. */
  resumeOffset?: number;
  /** True: a `Snapshot` of `to` comes next. */
  snapshot: boolean;
}

/** A message of this stream was refused, such as a `resize` of somebody who is not the owner. */
export interface Refused {
  type: "refused";
  error: AbideError;
}

/**
 * What a stream brings, in the order in which it happened. `exited` tells how the program ended; `detached` is always the
 * last one.
 */
export type StreamEvent =
  | Chunk
  | Snapshot
  | Lagged
  | Hole
  | Resized
  | OwnershipChanged
  | Restored
  | Time
  | Refused
  | Exited
  | Detached;
