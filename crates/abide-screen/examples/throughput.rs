//! Measures how fast a model takes ASCII lines.
use abide_screen::*;
fn main() {
    let line = b"the quick brown fox jumps over the lazy dog, and then it does so again....\r\n".repeat(10_000);
    let mut m = Model::new(Size { cols: 80, rows: 24 }, 2000);
    let t = std::time::Instant::now();
    for _ in 0..300 {
        for c in line.chunks(65536) {
            m.feed(c).unwrap();
        }
    }
    println!("{} MB/s", 300.0 * line.len() as f64 / t.elapsed().as_secs_f64() / 1e6);
    let t = std::time::Instant::now();
    let mut o = vec![];
    for _ in 0..300 {
        let mut f = QueryFilter::owner();
        for c in line.chunks(65536) {
            o.clear();
            f.filter(c, &mut o);
        }
    }
    println!("filter {} MB/s", 300.0 * line.len() as f64 / t.elapsed().as_secs_f64() / 1e6);
    let colored = b"\x1b[32m drwxr-xr-x\x1b[0m  2 \x1b[1;34mroot\x1b[0m \x1b[38;5;200mroot\x1b[m  4096 Nov 21 14:31 \x1b[01;34mspec\x1b[0m\r\n".repeat(10_000);
    let t = std::time::Instant::now();
    for _ in 0..100 {
        for c in colored.chunks(65536) {
            m.feed(c).unwrap();
        }
    }
    println!("colored {} MB/s", 100.0 * colored.len() as f64 / t.elapsed().as_secs_f64() / 1e6);
    let t = std::time::Instant::now();
    for _ in 0..100 {
        o = m.snapshot(2000).bytes;
    }
    println!("snapshot of {} bytes: {} ms", o.len(), t.elapsed().as_secs_f64() * 10.0);
}
