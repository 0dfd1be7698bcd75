//! Places for questions that are open to clients: few, and never all of them some user's.
//!
//! Giving up on a question does not end it: the bus keeps it open until the client answers or goes,
//! and lets a connection have few (128 on dbus-daemon). So a question keeps its place that long, and
//! one that is never answered keeps it for good. What a reader would get wrong: a fixed number for
//! each user would not do, because a few users together could have all there are. A user may have as
//! many places as are left to others, so each one that never answers takes half of the rest.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// The places of one kind of question.
#[derive(Clone, Debug)]
pub(super) struct Questions(Arc<Mutex<State>>);

/// A place for one question, to be dropped when that is answered.
#[derive(Debug)]
pub(super) struct Place {
    of: Questions,
    user: u32,
}

#[derive(Debug)]
struct State {
    free: usize,
    users: HashMap<u32, User>,
}

#[derive(Debug, Default)]
struct User {
    open: usize,
    waiting: VecDeque<oneshot::Sender<Place>>,
}

impl Questions {
    pub(super) fn new(places: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free: places, users: HashMap::new() })))
    }

    /// A place for a question to a client of this user, as soon as there is one; those of one user
    /// get theirs in the order they came. None when the service is stopping.
    pub(super) async fn place(&self, user: u32) -> Option<Place> {
        let (turn, comes) = oneshot::channel();
        self.state().users.entry(user).or_default().wait(turn);
        self.hand_out();
        comes.await.ok()
    }

    fn hand_out(&self) {
        loop {
            let next = self.state().next();
            let Some((user, turn)) = next else { return };
            // If nobody waits for it any more it is dropped, and so handed out again.
            let _ = turn.send(Place { of: self.clone(), user });
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes a place for whoever waits and has the fewest.
    fn next(&mut self) -> Option<(u32, oneshot::Sender<Place>)> {
        self.users.retain(|_, user| user.is_of_interest());
        let free = self.free;
        let waiting = self.users.iter_mut().filter(|(_, user)| !user.waiting.is_empty());
        let due = waiting.filter(|(_, user)| user.open < free);
        let (id, user) = due.min_by_key(|(_, user)| user.open)?;
        let turn = user.waiting.pop_front()?;
        user.open += 1;
        self.free -= 1;
        Some((*id, turn))
    }
}

impl User {
    fn wait(&mut self, turn: oneshot::Sender<Place>) {
        // Those who gave up waiting are forgotten before they would take more memory.
        if self.waiting.len() == self.waiting.capacity() {
            self.waiting.retain(|turn| !turn.is_closed());
        }
        self.waiting.push_back(turn);
    }

    fn is_of_interest(&mut self) -> bool {
        while self.waiting.front().is_some_and(oneshot::Sender::is_closed) {
            self.waiting.pop_front();
        }
        self.open > 0 || !self.waiting.is_empty()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        {
            let mut state = self.of.state();
            state.free += 1;
            if let Some(user) = state.users.get_mut(&self.user) {
                user.open -= 1;
            }
        }
        self.of.hand_out();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// Takes all the places that a user gets now.
    fn all(questions: &Questions, user: u32) -> Vec<Place> {
        let now = || questions.place(user).now_or_never().flatten();
        std::iter::from_fn(now).collect()
    }

    #[test]
    fn users_that_never_answer_leave_places_for_the_next_one() {
        let questions = Questions::new(48);
        let silent: Vec<Vec<Place>> = (1..5).map(|user| all(&questions, user)).collect();
        let taken: Vec<usize> = silent.iter().map(Vec::len).collect();
        assert_eq!(taken, [24, 12, 6, 3]);
        for _ in 0..10 {
            assert!(questions.place(5).now_or_never().is_some(), "one after the other");
        }
    }

    #[test]
    fn what_gets_free_goes_to_who_waits_first_as_long_as_others_have_as_much() {
        let questions = Questions::new(4);
        let (mut one, two) = (all(&questions, 1), all(&questions, 2));
        assert_eq!((one.len(), two.len()), (2, 1));
        let [mut early, mut late] = [2, 2].map(|user| Box::pin(questions.place(user)));
        assert!(early.as_mut().now_or_never().is_none() && late.as_mut().now_or_never().is_none());
        let three = questions.place(3).now_or_never().flatten();
        assert!(three.is_some(), "it had none");
        one.pop();
        assert!(early.as_mut().now_or_never().is_none(), "one is left to others");
        one.pop();
        assert!(late.as_mut().now_or_never().is_none());
        let early = early.now_or_never().flatten();
        assert!(early.is_some());
        drop(three);
        assert!(late.as_mut().now_or_never().is_none());
        drop(two);
        assert!(late.now_or_never().flatten().is_some());
    }

    #[test]
    fn who_gives_up_waiting_takes_no_place_and_no_memory() {
        let questions = Questions::new(2);
        let taken = all(&questions, 1);
        for _ in 0..10_000 {
            assert!(questions.place(1).now_or_never().is_none());
        }
        assert!(questions.state().users[&1].waiting.len() < 10);
        drop(taken);
        assert_eq!(all(&questions, 1).len(), 1);
        assert!(questions.state().users.len() <= 1);
        assert_eq!(all(&questions, 2).len(), 1);
    }
}
