//! smoke
use abide_screen::*;
#[test]
fn smoke() {
    let size = Size { cols: 20, rows: 5 };
    let mut a = Model::new(size, 100);
    a.feed(b"hello \x1b[1;31mworld\x1b[m\r\nline2 which is longer than one row\r\n\x1b]0;title\x07\x1b]7;file://h/tmp/a%20b\x07a\r\nb\r\nc\r\n\x1b[").unwrap();
    let s = a.snapshot(100);
    println!("{}", String::from_utf8_lossy(&s.bytes).replace('\x1b', "^["));
    let mut b = Model::new(size, 100);
    b.feed(&s.bytes).unwrap();
    assert_eq!(String::from_utf8_lossy(&b.snapshot(100).bytes), String::from_utf8_lossy(&s.bytes));
    println!("{:?} {:?} {:?}", b.text(What::All, None), b.title(), b.current_dir());
    a.feed(b"6n\x1b[c\x1b[>q\x1b[?25$p").unwrap();
    println!("{:?}", String::from_utf8_lossy(&a.take_answers()));
    let mut f = QueryFilter::observer();
    let mut out = vec![];
    f.filter(b"ab\x1b[6ncd\x1b]52;c;abc\x1b\\e\x1b[31mf\x1b]10;?\x07", &mut out);
    println!("{:?}", String::from_utf8_lossy(&out));
    let t = std::time::Instant::now();
    let line = b"the quick brown fox jumps over the lazy dog, and then it does so again....\r\n".repeat(1_000_000);
    let mut m = Model::new(Size { cols: 80, rows: 24 }, 2000);
    for c in line.chunks(65536) {
        m.feed(c).unwrap();
    }
    println!("{} MB/s", line.len() as f64 / t.elapsed().as_secs_f64() / 1e6);
}
