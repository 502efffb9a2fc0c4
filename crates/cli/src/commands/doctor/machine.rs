//! Processor, cores, memory and clock.

use std::thread;

use veracity_kernels::Isa;

use super::Check;
use crate::words;

/// When this program was written; a clock that shows less is wrong.
const CLOCK_MIN_S: u64 = 1_793_000_000;
/// The year 2100; a clock that shows more is wrong.
const CLOCK_MAX_S: u64 = 4_102_444_800;
const MEMORY_MIN_BYTES: u64 = 1 << 30;

pub(super) fn processor() -> Check {
    let available: Vec<String> = Isa::available().iter().map(ToString::to_string).collect();
    let best = Isa::detect();
    let finding = format!("{} on {} (available: {})", best, std::env::consts::ARCH, available.join(", "));
    match best {
        Isa::Scalar => Check::warn(
            "cpu",
            finding,
            "none is needed: answers are the same; a processor with AVX2 is much faster",
        ),
        _ => Check::pass("cpu", finding),
    }
}

pub(super) fn cores() -> Check {
    match thread::available_parallelism() {
        Ok(n) => Check::pass("cores", format!("{n} usable")),
        Err(error) => Check::warn("cores", format!("unknown: {error}"), "give --threads yourself"),
    }
}

pub(super) fn memory() -> Check {
    let Some((total, available)) = std::fs::read_to_string("/proc/meminfo").ok().and_then(|t| meminfo(&t))
    else {
        return Check::warn("memory", "unknown on this system", "keep 1 GB free for each large model");
    };
    let finding = format!("{} free of {}", words::size(available), words::size(total));
    if available < MEMORY_MIN_BYTES {
        return Check::warn("memory", finding, "close other programs, or host small models only");
    }
    Check::pass("memory", finding)
}

/// Total and available bytes.
fn meminfo(text: &str) -> Option<(u64, u64)> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    Some((field("MemTotal:")?, field("MemAvailable:")?))
}

pub(super) fn clock() -> Check {
    let now = words::now();
    let finding = words::utc(now);
    if (CLOCK_MIN_S..CLOCK_MAX_S).contains(&now) {
        return Check::pass("clock", finding);
    }
    Check::fail(
        "clock",
        format!("{finding} cannot be"),
        "set the clock, best with NTP: timedatectl set-ntp true",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_of_linux() {
        let text = "MemTotal:       24621992 kB\nMemFree:  1 kB\nMemAvailable:   23001924 kB\n";
        assert_eq!(meminfo(text), Some((24_621_992 * 1024, 23_001_924 * 1024)));
        assert_eq!(meminfo("MemTotal: many kB\n"), None);
    }
}
