//! What the log says of readiness: each change, and while a pod is not ready each other reason, but none
//! that is soon over. A pod that starts with a wrong certificate has said by then that its server starts.

use std::time::{Duration, Instant};

use crate::health::Verdict;

/// How long a new reason has to last. Those of a start come and go within it.
const LASTS: Duration = Duration::from_secs(5);

/// What was said, and what is to be said next if it lasts.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    said: Option<(bool, String)>,
    next: Option<(String, Instant)>,
}

impl Readiness {
    /// What is to be said of this now.
    pub fn news(&mut self, verdict: Verdict, now: Instant) -> Option<String> {
        let gist = gist(&verdict.reason);
        let lasts = match &self.said {
            Some((ok, said)) if *ok == verdict.ok => {
                if *ok || *said == gist {
                    self.next = None;
                    return None;
                }
                LASTS
            }
            _ => Duration::ZERO,
        };
        let since = match self.next.take() {
            Some((next, since)) if next == gist => since,
            _ => now,
        };
        if now.duration_since(since) < lasts {
            self.next = Some((gist, since));
            return None;
        }
        self.said = Some((verdict.ok, gist));
        Some(verdict.reason)
    }
}

/// A reason without its numbers, which change all the time.
fn gist(reason: &str) -> String {
    reason.chars().filter(|c| !c.is_ascii_digit() && *c != '.').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of these, each a verdict at so many seconds.
    #[track_caller]
    fn says(seen: &[(u64, bool, &str)], expected: &[&str]) {
        let (start, mut readiness) = (Instant::now(), Readiness::default());
        let said = seen.iter().filter_map(|(at, ok, reason)| {
            let verdict = Verdict { ok: *ok, reason: (*reason).to_owned() };
            readiness.news(verdict, start + Duration::from_secs(*at))
        });
        assert_eq!(said.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn change_is_said_at_once_and_only_once() {
        says(&[(0, false, "a"), (1, false, "a"), (2, true, "b"), (3, true, "c")], &["a", "b"]);
        says(&[(0, true, "b"), (1, false, "a"), (2, true, "b")], &["b", "a", "b"]);
    }

    #[test]
    fn other_reason_is_said_once_it_has_lasted() {
        says(&[(0, false, "a"), (1, false, "b"), (5, false, "b"), (6, false, "b")], &["a", "b"]);
        says(&[(0, false, "a"), (1, false, "b"), (6, false, "b"), (20, false, "b")], &["a", "b"]);
        says(&[(0, false, "a"), (1, false, "b"), (4, false, "c"), (8, false, "b")], &["a"]);
        says(&[(0, false, "a"), (1, false, "b"), (4, false, "a"), (8, false, "b")], &["a"]);
    }

    #[test]
    fn numbers_are_no_reason() {
        says(&[(0, false, "none for 1.5 s"), (9, false, "none for 9 s")], &["none for 1.5 s"]);
    }
}
