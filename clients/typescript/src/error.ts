import { retryClass } from "./wire.js";
import type { ErrorCode, ErrorMessage, RetryClass } from "./wire.js";

/**
 * A named failure, of the daemon or of this library. Act on `code` and `details`, or, for a code that you do not know,
 * on `retry` alone; `message` is for people.
 */
export class AbideError extends Error {
  /** Which failure; `docs/errors.md` says of each code when it comes and what to do. */
  readonly code: ErrorCode;
  /** What may be done about it. */
  readonly retry: RetryClass;
  /** The facts that the code promises, by name. */
  readonly details: Readonly<Record<string, unknown>>;

  /** An error of this code; its class is that of the registry unless a newer daemon said another one. */
  constructor(
    code: ErrorCode,
    message: string,
    details: Readonly<Record<string, unknown>> = {},
    retry: RetryClass = retryClass[code],
  ) {
    super(message);
    this.name = "AbideError";
    this.code = code;
    this.retry = retry;
    this.details = details;
  }

  /** The error that a message carries. */
  static of(message: ErrorMessage): AbideError {
    return new AbideError(message.code, message.message, message.details, message.retry);
  }

  /** A number among the facts; undefined if there is none of this name. */
  number(name: string): number | undefined {
    const fact = this.details[name];
    return typeof fact === "number" ? fact : undefined;
  }
}

/**
 * Input of a `Stream.write` that did not reach the program, because the client ceased to own the session. The bytes of
 * that write below `from` were applied, those from it on were not and never will be: look who owns the session now, and
 * write them again if they still make sense. (Where nobody can tell, the write rejects with `OUTCOME_UNKNOWN`.)
 */
export class NotApplied extends AbideError {
  /** Index into the bytes that were written. */
  readonly from: number;

  /** Of one write, what lies from `from` on. */
  constructor(from: number) {
    super("OWNER_CHANGED", `the ownership ended; of this write ${from} bytes were applied`, { from });
    this.name = "NotApplied";
    this.from = from;
  }
}
