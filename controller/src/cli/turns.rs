//! Many agents asked the same, so many of them at a time that none of them waits for the others.
//!
//! **Invariant:** what one agent may take begins when it is asked, and not while others are. Guarded by
//! the tests below.

use std::sync::Arc;

use tokio::{sync::Semaphore, task::JoinSet};

/// Agents that are asked at once: as many handshakes as `node` makes at a time.
const AT_ONCE: usize = 64;

/// What came of asking one agent.
pub(super) enum Asked<T> {
    /// It is what there is to say.
    Answered(T),
    /// It was not reached, perhaps for now.
    NotReached(T),
}

/// Asks for each of `items`, once more where it was not reached. The answers come as they are there.
pub(super) fn in_turns<I, T, F>(
    items: impl IntoIterator<Item = I>,
    ask: impl Fn(I) -> F + Clone + Send + Sync + 'static,
) -> JoinSet<T>
where
    I: Clone + Send + Sync + 'static,
    T: Send + 'static,
    F: Future<Output = Asked<T>> + Send,
{
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut asked = JoinSet::new();
    for item in items {
        let (places, ask) = (Arc::clone(&places), ask.clone());
        asked.spawn(async move {
            let once = async || {
                // The semaphore is never closed. Who was not reached makes room for others.
                let _place = places.acquire().await;
                ask(item.clone()).await
            };
            match once().await {
                Asked::Answered(answer) => answer,
                Asked::NotReached(_) => match once().await {
                    Asked::Answered(answer) | Asked::NotReached(answer) => answer,
                },
            }
        });
    }
    asked
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn no_more_are_asked_at_once_than_are_reached_at_once() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::clone(&most);

        let asked = in_turns(0..300_u32, move |item| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                now.fetch_sub(1, Ordering::Relaxed);
                Asked::Answered(item)
            }
        });
        let mut answers = asked.join_all().await;

        answers.sort_unstable();
        assert!(answers.into_iter().eq(0..300));
        assert_eq!(seen.load(Ordering::Relaxed), AT_ONCE);
    }

    #[tokio::test]
    async fn one_that_is_not_reached_is_asked_once_more() {
        let times = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&times);

        let asked = in_turns(["back", "away", "here"], move |item| {
            let time = counted.fetch_add(1, Ordering::Relaxed);
            async move {
                match (item, time) {
                    ("back", 0) | ("away", _) => Asked::NotReached((item, "not reached")),
                    (_, _) => Asked::Answered((item, "reached")),
                }
            }
        });
        let mut answers = asked.join_all().await;

        answers.sort_unstable();
        let expected = [
            ("away", "not reached"),
            ("back", "reached"),
            ("here", "reached"),
        ];
        assert_eq!(answers, expected);
        assert_eq!(times.load(Ordering::Relaxed), 5);
    }
}
