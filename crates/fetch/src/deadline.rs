//! One timer for a whole attempt.
//!
//! Each sign of life only moves a number; the timer itself is armed on the first wait and looked
//! at again when it fires, so that a body of a million chunks costs no million timers.

use crate::request::FetchLimits;
use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};

/// The time ran out.
#[derive(Debug)]
pub(crate) struct Elapsed;

#[derive(Debug)]
pub(crate) struct Deadline {
    started_at: Instant,
    total_at: Instant,
    quiet_at: Instant,
    /// The silence that was allowed and has not begun: what is there at once needs no clock.
    silence: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    pub(crate) fn start(limits: &FetchLimits) -> Self {
        let now = Instant::now();
        let total_at = after(now, limits.total_timeout);
        Self { started_at: now, total_at, quiet_at: total_at, silence: None, timer: None }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started_at.elapsed()
    }

    /// From the next wait on, the silence may last that long.
    pub(crate) fn allow_silence(&mut self, silence: Duration) {
        self.silence = Some(silence);
    }

    /// Waits for a future no longer than allowed.
    pub(crate) async fn guard<F: Future>(&mut self, future: F) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        poll_fn(move |cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            if let Some(silence) = self.silence.take() {
                self.quiet_at = after(Instant::now(), silence);
            }
            let due = self.quiet_at.min(self.total_at);
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if timer.deadline() > due {
                timer.as_mut().reset(due);
            }
            while timer.as_mut().poll(cx).is_ready() {
                if timer.deadline() >= due {
                    return Poll::Ready(Err(Elapsed));
                }
                timer.as_mut().reset(due);
            }
            Poll::Pending
        })
        .await
    }
}

/// An instant that exists, however long the duration.
fn after(now: Instant, duration: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_hours(100 * 365 * 24);
    now + duration.min(CENTURY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(idle: u64, total: u64) -> FetchLimits {
        FetchLimits {
            idle_timeout: Duration::from_secs(idle),
            total_timeout: Duration::from_secs(total),
            ..FetchLimits::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn signs_of_life_put_the_end_off_until_the_total() {
        let mut deadline = Deadline::start(&limits(3, 10));
        let mut steps = 0;
        loop {
            deadline.allow_silence(Duration::from_secs(3));
            if deadline.guard(tokio::time::sleep(Duration::from_secs(2))).await.is_err() {
                break;
            }
            steps += 1;
        }
        // The fifth step ends together with the total, and a result that is there wins.
        assert_eq!(steps, 5);
        assert_eq!(deadline.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_the_wait_also_when_it_got_shorter() {
        let mut deadline = Deadline::start(&limits(3, 100));
        deadline.allow_silence(Duration::from_secs(50));
        deadline.guard(tokio::time::sleep(Duration::from_secs(1))).await.unwrap();
        deadline.allow_silence(Duration::from_secs(3));
        assert!(deadline.guard(std::future::pending::<()>()).await.is_err());
        assert_eq!(deadline.elapsed().as_secs(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn endless_limits_do_not_overflow() {
        let mut deadline = Deadline::start(&FetchLimits {
            total_timeout: Duration::MAX,
            ..FetchLimits::default()
        });
        deadline.allow_silence(Duration::MAX);
        deadline.guard(async {}).await.unwrap();
    }
}
