//! What other programs did to the CPUs meanwhile.

use std::fs::read_to_string;

/// CPU time so far, in ticks of the kernel's.
#[derive(Clone, Copy, Debug)]
pub struct Ticks {
    /// Of all CPUs, idle or not.
    all: u64,
    /// Of all that ran.
    busy: u64,
    /// Of this program and the programs it has run.
    ours: u64,
}

impl Ticks {
    /// As of now; none where there is no such /proc.
    #[must_use]
    pub fn now() -> Option<Self> {
        Self::parse(&read_to_string("/proc/stat").ok()?, &read_to_string("/proc/self/stat").ok()?)
    }

    fn parse(stat: &str, own: &str) -> Option<Self> {
        // cpu user nice system idle iowait irq softirq steal
        let cpu = stat.lines().next()?.strip_prefix("cpu ")?;
        let cpu: Vec<u64> = cpu.split_whitespace().take(8).map_while(|n| n.parse().ok()).collect();
        let all: u64 = cpu.iter().sum();
        let idle = cpu.get(3)? + cpu.get(4)? + cpu.get(7)?;
        // pid (name) state …: utime, stime, cutime, cstime are the 12th to 15th after the name.
        let after = own.rsplit_once(") ")?.1;
        let ours = after.split(' ').skip(11).take(4).filter_map(|n| n.parse::<u64>().ok()).sum();
        Some(Self { all, busy: all - idle, ours })
    }

    /// The part of the CPUs that other programs have had since, from 0 to 1.
    #[must_use]
    pub fn others_since(self) -> f64 {
        let Some(now) = Self::now() else { return 0.0 };
        let others = (now.busy - self.busy).saturating_sub(now.ours - self.ours);
        others as f64 / (now.all - self.all).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::Ticks;

    #[test]
    fn fields() {
        let own = "77 (a) b) S 1 2 3 4 5 6 7 8 9 10 100 20 3000 400 20 0";
        let ticks = Ticks::parse("cpu  10 20 30 400 50 6 7 8 900 0\ncpu0 1", own).unwrap();
        assert_eq!((ticks.all, ticks.busy, ticks.ours), (531, 73, 3520));
    }
}
