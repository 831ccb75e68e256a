import { spawn } from "node:child_process";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";

/**
 * The socket of this user's daemon: `$XDG_STATE_HOME/abide/run/terminal.sock`, below `~/.local/state` without that
 * variable. A daemon whose `socket_dir` is configured elsewhere also leaves a link at
 * `$XDG_RUNTIME_DIR/abide/terminal.sock`.
 */
export function defaultPath(env: NodeJS.ProcessEnv = process.env): string {
  const absolute = (name: string): string | undefined => {
    const value = env[name];
    return value !== undefined && isAbsolute(value) ? value : undefined;
  };
  const state = absolute("XDG_STATE_HOME") ?? join(absolute("HOME") ?? homedir(), ".local/state");
  return join(state, "abide/run/terminal.sock");
}

/** Starts a daemon with this program, and returns when it serves; where one serves already nothing changes. */
export function startDaemon(program: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, ["up"], { stdio: "ignore" });
    child.once("error", reject);
    child.once("exit", (code) => {
      if (code === 0) {
        resolve();
      } else {
        reject(new Error(`${program} up ended with status ${code}`));
      }
    });
  });
}
