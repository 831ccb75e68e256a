#!/bin/sh
# Makes /tmp/demo, where the recordings are made: `./prepare.sh && for s in *.drive; do drive "$s"; done`.
set -e
here=$(cd "$(dirname "$0")" && pwd)
rm -rf /tmp/demo
mkdir -p /tmp/demo/src /tmp/demo/out
cp "$here"/*.py /tmp/demo/
cd /tmp/demo
cat > src/greet.c <<'C'
#include <stdio.h>

/* Greets everyone named on the command line. */
static int greet(const char *name)
{
	if (!name) {
		return -1;
	}
	return printf("Hello, %s\n", name);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (greet(argv[i]) < 0) {
			return 1;
		}
	}
	return 0;
}
C
cat > src/broken.c <<'C'
#include <stdio.h>

struct point { int x; int y; };

int main(void)
{
	struct point p = { 1, 2 };
	int unused;
	printf("%s %d\n", p.x, p.z);
	retrun 0;
}
C
i=1
while [ $i -le 200 ]; do
	echo "Line $i of a long text, with some words in it that go on for quite a while, so that a narrow window has to wrap it."
	i=$((i + 1))
done > long.txt
echo 'a file' > a.txt
echo 'another' > b.txt
ln -s a.txt link
