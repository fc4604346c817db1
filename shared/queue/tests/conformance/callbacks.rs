//! Callbacks of jobs that are over.

use std::time::Duration;

use queue::{Callback, CallbackOutcome, Completed, Failed, Failure, Grant, NewJob, State};

use crate::fixture::{Fixture, HOUR, MINUTE, job};

fn called(caller: &str) -> NewJob {
    NewJob { callback_url: Some("http://example.org/hook".to_owned()), ..job(caller) }
}

pub(crate) async fn a_final_job_tells_its_callback_once_it_is_due(fixture: &Fixture) {
    let url = "http://example.org/hook";
    let id = fixture.enqueue(NewJob { callback_url: Some(url.to_owned()), ..job("a") }).await;
    let store = fixture.store();
    let grant = fixture.start("w").await;
    assert_eq!(fixture.callbacks(&[]).await, []);
    fixture.complete(&grant, "{}").await;
    let due = fixture.callbacks(&[]).await;
    let [callback] = &due[..] else { panic!("{due:?}") };
    assert_eq!((callback.id, callback.url.as_str(), callback.attempt), (id, url, 1));
    assert_eq!(fixture.callbacks(&[]).await, []);
    let again = CallbackOutcome::Again { after: 2 * MINUTE, reason: "busy".to_owned() };
    store.note_callback(callback.number, again).await.unwrap();
    let open = store.callbacks("a".to_owned(), 9).await.unwrap();
    assert_eq!(open.iter().map(|it| it.reason.as_deref()).collect::<Vec<_>>(), [Some("busy")]);
    assert_eq!(store.callbacks("b".to_owned(), 9).await.unwrap(), []);
    fixture.clock.pass(2 * MINUTE);
    let again = fixture.callbacks(&[]).await;
    assert_eq!(again.iter().map(|it| it.attempt).collect::<Vec<_>>(), [2]);
    store.note_callback(callback.number, CallbackOutcome::Delivered).await.unwrap();
    assert_eq!(store.callbacks("a".to_owned(), 9).await.unwrap(), []);
    fixture.clock.pass(2 * MINUTE);
    assert_eq!(fixture.callbacks(&[]).await, []);
}

pub(crate) async fn a_caller_with_many_callbacks_does_not_hold_up_others(fixture: &Fixture) {
    let start_within = Some(Duration::from_secs(1));
    for _ in 0..3 {
        let jobs = (0..180).map(|_| NewJob { start_within, ..called("a") });
        fixture.store().enqueue(jobs.collect()).await.unwrap();
        fixture.clock.pass(MINUTE);
        assert_eq!(fixture.store().sweep(1_000).await.unwrap().expired, 180);
    }
    let last = fixture.enqueue(called("b")).await;
    fixture.store().cancel(last).await.unwrap();
    fixture.clock.pass(Duration::from_secs(1));
    let callers = |due: Vec<Callback>| due.into_iter().map(|it| it.caller).collect::<Vec<_>>();
    assert_eq!(callers(fixture.callbacks(&[]).await), ["a", "a", "a"]);
    assert_eq!(callers(fixture.callbacks(&[("a", 3)]).await), ["b"]);
    assert_eq!(callers(fixture.callbacks(&[("a", 2), ("b", 1)]).await), ["a"]);
    let open = fixture.store().callbacks("a".to_owned(), 1_000).await.unwrap();
    let tried = open.iter().map(|it| it.attempt).collect::<Vec<_>>();
    assert_eq!((tried.len(), tried.iter().sum::<u32>()), (540, 4), "none is tried that waits");
}

pub(crate) async fn a_job_is_kept_while_its_callback_is_tried(fixture: &Fixture) {
    let id = fixture.enqueue(NewJob { ttl: MINUTE, ..called("a") }).await;
    fixture.store().cancel(id).await.unwrap();
    let is_kept_after = async |time| {
        fixture.clock.pass(time);
        fixture.store().purge(100).await.unwrap();
        fixture.store().job(id).await.unwrap().is_some()
    };
    assert_eq!(fixture.callbacks(&[("a", 3)]).await, [], "others of its caller go out");
    assert!(is_kept_after(5 * MINUTE).await);
    let due = fixture.callbacks(&[]).await;
    assert!(is_kept_after(5 * MINUTE).await, "its sender may be gone");
    let again = CallbackOutcome::Again { after: 2 * HOUR, reason: "busy".to_owned() };
    fixture.store().note_callback(due[0].number, again).await.unwrap();
    assert!(is_kept_after(2 * HOUR).await);
    assert_eq!(fixture.callbacks(&[]).await[0].attempt, 2);
    fixture.store().note_callback(due[0].number, CallbackOutcome::Delivered).await.unwrap();
    assert!(!is_kept_after(HOUR).await);
}

pub(crate) async fn a_job_that_is_redriven_has_another_callback_when_it_ends(fixture: &Fixture) {
    let id = fixture.enqueue(called("a")).await;
    let Grant { lease, .. } = fixture.start("w").await;
    let reason = "ill".to_owned();
    let failure = Failure { lease, reason, is_retryable: false, may_have_run: true };
    let failed = fixture.store().fail(vec![failure]).await.unwrap();
    assert_eq!(failed, [Failed::Final(State::Dead)]);
    let first = fixture.callbacks(&[]).await;
    fixture.store().note_callback(first[0].number, CallbackOutcome::Delivered).await.unwrap();
    assert!(fixture.store().redrive(id).await.unwrap());
    let grant = fixture.start("w").await;
    assert_eq!(fixture.callbacks(&[]).await, []);
    assert_eq!(fixture.complete(&grant, "{}").await, Completed::Recorded);
    let second = fixture.callbacks(&[]).await;
    assert_eq!(second.iter().map(|it| it.id).collect::<Vec<_>>(), [id]);
    assert_ne!(first[0].number, second[0].number);
}
