"""A program that keeps its last row for a progress bar, as package managers do: a scroll region above it."""

import sys
import time


def put(text):
    sys.stdout.write(text)
    sys.stdout.flush()


rows = 24
put("\n\x1b7\x1b[0;%dr\x1b8\x1b[1A" % (rows - 1))
for n in range(1, 41):
    put(f"Unpacking package-{n} (1.{n}.0) over (1.{n - 1}.0) ...\r\n")
    done = n * 50 // 40
    put(f"\x1b7\x1b[{rows};0f\x1b[42m\x1b[30mProgress: [{n * 100 // 40:3d}%]\x1b[49m\x1b[39m [{'#' * done}{'.' * (50 - done)}] \x1b8")
    if n % 10 == 0:
        put("\x1b[5;1H\x1b[2Linserted\x1b[10;3H\x1b[Mdeleted\x1b[3;1H\x1bM\x1bM\x1b[2S\x1b[T\x1b[%d;1H\r\n" % (rows - 1))
    time.sleep(0.002)
put("\x1b7\x1b[0;%dr\x1b8\x1b[1A\x1b[J" % rows)
put("READY\r\n")
sys.stdin.readline()
