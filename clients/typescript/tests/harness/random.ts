import { Random } from "../../src/random.js";

/** The library's generator with what tests need beside it. */
export class Dice extends Random {
  /** True once in `n` times. */
  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }

  /** Up to `max` bytes. */
  bytes(max: number): Buffer {
    return Buffer.from(Array.from({ length: this.below(max + 1) }, () => this.below(256)));
  }
}
