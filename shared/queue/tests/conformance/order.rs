//! Who gets which job, and when.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use queue::{
    Claim, Completion, DEFAULT_QUEUE, Enqueued, Filter, Job, Lane, NewJob, Notice, Priority,
};

use crate::fixture::{Fixture, LEASE, MINUTE, claim, completion, job};

fn of_priority(level: u8) -> NewJob {
    NewJob { priority: Priority::new(level).unwrap(), ..job("a") }
}

pub(crate) async fn a_leased_job_is_not_granted_again(fixture: &Fixture) {
    fixture.enqueue(job("a")).await;
    assert_eq!(fixture.claim("one", 5).await.len(), 1);
    assert_eq!(fixture.claim("two", 5).await, []);
}

pub(crate) async fn a_higher_priority_goes_first(fixture: &Fixture) {
    let low = fixture.enqueue(of_priority(0)).await;
    let high = fixture.enqueue(of_priority(9)).await;
    let granted: Vec<_> = fixture.claim("w", 2).await.iter().map(|it| it.lease.id).collect();
    assert_eq!(granted, [high, low]);
}

pub(crate) async fn a_long_backlog_of_one_caller_does_not_hold_up_another(fixture: &Fixture) {
    let backlog = (0..200).map(|_| job("busy")).collect();
    fixture.store().enqueue(backlog).await.unwrap();
    // It has been going on for a while.
    for _ in 0..20 {
        let grant = fixture.start("w").await;
        fixture.complete(&grant, "{}").await;
    }
    let quiet = fixture.enqueue(job("quiet")).await;
    let mut dispatches = 0;
    loop {
        dispatches += 1;
        let grant = fixture.start("w").await;
        if grant.lease.id == quiet {
            break;
        }
        fixture.complete(&grant, "{}").await;
    }
    assert!(dispatches <= 20, "it had to wait for {dispatches} others");
}

pub(crate) async fn nobody_waits_for_what_is_only_guessed_of_their_job(fixture: &Fixture) {
    let many = |count| (0..count).map(|_| job("busy")).collect();
    fixture.store().enqueue(many(30)).await.unwrap();
    // By now its jobs are known to be quick, and those of the others are not.
    for _ in 0..30 {
        let grant = fixture.start("w").await;
        let run_time = Duration::from_millis(1);
        let quick = Completion { run_time, ..completion(&grant, "{}") };
        fixture.store().complete(vec![quick]).await.unwrap();
    }
    fixture.store().enqueue(many(200)).await.unwrap();
    fixture.start("w").await;
    let mut others = HashSet::new();
    for caller in ["x", "y", "z"] {
        others.insert(fixture.enqueue(job(caller)).await);
    }
    let next: HashSet<_> = fixture.claim("w", 4).await.iter().map(|it| it.lease.id).collect();
    assert!(others.is_subset(&next), "a backlog went before them");
}

pub(crate) async fn one_claim_in_ten_takes_the_lowest_priority(fixture: &Fixture) {
    let lowest = fixture.enqueue(of_priority(0)).await;
    for _ in 0..40 {
        fixture.enqueue(of_priority(9)).await;
    }
    let mut claims = 1;
    while fixture.start("w").await.lease.id != lowest {
        claims += 1;
    }
    assert!(claims <= 10, "it took {claims} claims");
}

pub(crate) async fn every_priority_gets_its_share_in_every_lane(fixture: &Fixture) {
    const CLAIMS: usize = 240;
    let lanes = ["alpha", "beta"].map(|it| Lane::new(it, DEFAULT_QUEUE));
    let (mut jobs, mut levels) = (Vec::new(), HashMap::new());
    for lane in &lanes {
        for level in [9, 5, 0] {
            let new = || NewJob { lane: lane.clone(), ..of_priority(level) };
            jobs.extend((0..10).map(|_| new()));
        }
    }
    let mut shares: HashMap<(Lane, u8), usize> = HashMap::new();
    for _ in 0..CLAIMS {
        levels.extend(jobs.iter().map(|it: &NewJob| (it.id, it.priority.level())));
        fixture.store().enqueue(std::mem::take(&mut jobs)).await.unwrap();
        let wish = Claim { lanes: lanes.to_vec(), ..claim("w", 1) };
        let grant = fixture.store().claim(wish).await.unwrap().remove(0);
        let level = levels[&grant.lease.id];
        *shares.entry((grant.lane.clone(), level)).or_default() += 1;
        fixture.complete(&grant, "{}").await;
        jobs.push(NewJob { lane: grant.lane, ..of_priority(level) });
    }
    let share = |lane: &Lane, level| shares.get(&(lane.clone(), level)).copied().unwrap_or(0);
    for lane in &lanes {
        let found = [9, 5, 0].map(|level| share(lane, level));
        assert_eq!(found, [CLAIMS * 9 / 20, CLAIMS / 40, CLAIMS / 40], "{lane}");
    }
}

pub(crate) async fn a_priority_whose_callers_have_enough_running_is_passed_over(fixture: &Fixture) {
    let many = |caller: &str, level| {
        let new = |_| NewJob { caller: caller.to_owned(), ..of_priority(level) };
        (0..30).map(new).collect::<Vec<_>>()
    };
    let jobs = [many("a", 9), many("b", 5), many("busy", 0)].concat();
    let of_b: HashSet<_> = jobs[30..60].iter().map(|it| it.id).collect();
    fixture.store().enqueue(jobs).await.unwrap();
    let wish = || Claim { running_max_of: vec![("busy".to_owned(), 0)], ..claim("w", 1) };
    let mut granted = Vec::new();
    for _ in 0..20 {
        granted.push(fixture.store().claim(wish()).await.unwrap().remove(0).lease.id);
    }
    let found = granted.iter().filter(|it| of_b.contains(it)).count();
    assert_eq!(found, 2, "one in ten");
}

pub(crate) async fn a_long_backlog_of_a_caller_that_has_enough_running_hides_nobody(
    fixture: &Fixture,
) {
    fixture.widen().await;
    let urgent = |_| NewJob { priority: Priority::new(9).unwrap(), ..job("busy") };
    for count in [1_000; 10].into_iter().chain([1]) {
        fixture.store().enqueue((0..count).map(urgent).collect()).await.unwrap();
    }
    let wish = |most| Claim { running_max: 2, ..claim("w", most) };
    let callers =
        |grants: Vec<queue::Grant>| grants.into_iter().map(|it| it.caller).collect::<Vec<_>>();
    assert_eq!(callers(fixture.store().claim(wish(5)).await.unwrap()), ["busy", "busy"]);
    assert_eq!(fixture.store().claim(wish(5)).await.unwrap(), []);
    let mut quiet = Vec::new();
    for caller in ["x", "y", "x", "y", "x"] {
        quiet.push(fixture.enqueue(job(caller)).await);
    }
    let first = fixture.store().claim(wish(3)).await.unwrap();
    let ids: Vec<_> = first.iter().map(|it| it.lease.id).collect();
    assert_eq!(ids, [quiet[0], quiet[1], quiet[2]]);
    assert_eq!(callers(fixture.store().claim(wish(3)).await.unwrap()), ["y"]);
    fixture.complete(&first[0], "{}").await;
    assert_eq!(callers(fixture.store().claim(wish(3)).await.unwrap()), ["x"]);
}

pub(crate) async fn a_run_counts_for_no_longer_than_an_attempt_may_take(fixture: &Fixture) {
    fixture.enqueue(job("a")).await;
    let grant = fixture.start("w").await;
    let run_time = Duration::from_millis(u64::MAX);
    let odd = Completion { run_time, ..completion(&grant, "{}") };
    fixture.store().complete(vec![odd]).await.unwrap();
    let average = fixture.store().stats().await.unwrap().lanes[0].average_run_ms;
    assert_eq!(average, Some(60_000));
    let own = fixture.enqueue(job("a")).await;
    fixture.store().enqueue((0..80).map(|_| job("b")).collect()).await.unwrap();
    let granted = fixture.claim("w", 70).await;
    assert!(granted.iter().any(|it| it.lease.id == own), "it waits for longer than it ran");
}

pub(crate) async fn a_caller_has_no_more_running_than_it_may(fixture: &Fixture) {
    fixture.store().enqueue((0..5).map(|_| job("a")).collect()).await.unwrap();
    let other = fixture.enqueue(job("b")).await;
    let capped = || Claim { running_max: 2, ..claim("w", 5) };
    let granted = fixture.store().claim(capped()).await.unwrap();
    let callers: Vec<_> = granted.iter().map(|it| it.caller.as_str()).collect();
    assert_eq!(callers.iter().filter(|it| **it == "a").count(), 2, "{callers:?}");
    assert!(granted.iter().any(|it| it.lease.id == other));
    assert_eq!(fixture.store().claim(capped()).await.unwrap(), []);
    fixture.complete(&granted[0], "{}").await;
    let closer = Claim { running_max_of: vec![("a".to_owned(), 1)], ..capped() };
    assert_eq!(fixture.store().claim(closer).await.unwrap(), []);
    assert_eq!(fixture.store().claim(capped()).await.unwrap().len(), 1);
}

pub(crate) async fn only_languages_that_are_asked_for_are_granted(fixture: &Fixture) {
    fixture.enqueue(NewJob { lane: Lane::new("beta", DEFAULT_QUEUE), ..job("a") }).await;
    fixture.enqueue(job("a")).await;
    let lanes = ["gamma", "beta"].map(|it| Lane::new(it, DEFAULT_QUEUE)).to_vec();
    let granted = fixture.store().claim(Claim { lanes, ..claim("w", 3) }).await.unwrap();
    assert_eq!(granted.iter().map(|it| it.lane.language()).collect::<Vec<_>>(), ["beta"]);
}

pub(crate) async fn the_same_poll_gets_the_same_grants_until_they_are_accepted(fixture: &Fixture) {
    fixture.store().enqueue((0..3).map(|_| job("a")).collect()).await.unwrap();
    let poll = |word: &str, worker: &str| Claim { poll: Some(word.to_owned()), ..claim(worker, 1) };
    let first = fixture.store().claim(poll("1", "w")).await.unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!(fixture.store().claim(poll("1", "w")).await.unwrap(), first);
    assert_ne!(fixture.store().claim(poll("1", "other")).await.unwrap(), first);
    fixture.store().extend(vec![first[0].lease], LEASE).await.unwrap();
    assert_ne!(fixture.store().claim(poll("1", "w")).await.unwrap(), first);
}

pub(crate) async fn a_position_counts_those_before(fixture: &Fixture) {
    let first = fixture.enqueue(job("a")).await;
    let second = fixture.enqueue(job("a")).await;
    let urgent = fixture.enqueue(of_priority(9)).await;
    let mut found = Vec::new();
    for id in [urgent, first, second] {
        found.push(fixture.job(id).await.position);
    }
    assert_eq!(found, [Some(0), Some(1), Some(2)]);
    fixture.start("w").await;
    assert_eq!(fixture.job(urgent).await.position, None);
    assert_eq!(fixture.job(second).await.position, Some(1));
}

pub(crate) async fn a_queue_is_for_its_own_workers(fixture: &Fixture) {
    let lane = Lane::new("alpha", "large");
    let large = fixture.enqueue(NewJob { lane: lane.clone(), ..job("a") }).await;
    let other = NewJob { lane: Lane::new("alphabet", "large"), ..job("a") };
    let other = fixture.enqueue(other).await;
    assert_eq!(fixture.claim("w", 1).await, []);
    let small = fixture.enqueue(job("a")).await;
    assert_eq!(fixture.job(large).await.lane.queue(), "large");
    let language = Some("alpha".to_owned());
    let filter = Filter { language, ..Filter::default() };
    let listed = fixture.store().list(filter, None, 10).await.unwrap().jobs;
    assert_eq!(listed.iter().map(|it| it.id).collect::<Vec<_>>(), [small, large]);
    for (queue, expected) in
        [("large", vec![other, large]), (DEFAULT_QUEUE, vec![small]), ("large2", vec![])]
    {
        let filter = Filter { queue: Some(queue.to_owned()), ..Filter::default() };
        let listed = fixture.store().list(filter, None, 10).await.unwrap().jobs;
        assert_eq!(listed.iter().map(|it| it.id).collect::<Vec<_>>(), expected, "{queue}");
    }
    let lanes = vec![lane.clone()];
    let granted = fixture.store().claim(Claim { lanes, ..claim("w", 3) }).await.unwrap();
    let granted: Vec<_> = granted.iter().map(|it| (it.lease.id, &it.lane)).collect();
    assert_eq!(granted, [(large, &lane)]);
    assert_eq!(fixture.claim("w", 3).await.len(), 1);
}

pub(crate) async fn a_far_position_is_told_though_not_counted(fixture: &Fixture) {
    let many = usize::try_from(Job::COUNTED_MAX + 50).unwrap();
    let found = fixture.store().enqueue((0..many).map(|_| job("a")).collect()).await.unwrap();
    let Some(Enqueued::Created(last)) = found.last() else { panic!("{found:?}") };
    assert_eq!(fixture.job(*last).await.position, Some(Job::COUNTED_MAX + 49));
    // Whoever comes in before is counted, and so is who waits behind a few.
    let urgent = fixture.enqueue(of_priority(9)).await;
    assert_eq!(fixture.job(urgent).await.position, Some(0));
    let other = fixture.enqueue(job("b")).await;
    assert!(fixture.job(other).await.position < Some(4));
}

pub(crate) async fn gateways_tell_each_other_of_workers(fixture: &Fixture) {
    let (store, is_file) = (fixture.store(), fixture.url().starts_with("sqlite:"));
    let Some(board) = store.board() else { return assert!(is_file) };
    let notice = |worker: &str, body: &[u8]| Notice { worker: worker.into(), body: body.into() };
    let told = async || {
        let noted = board.noted().await.unwrap();
        noted.into_iter().map(|it| (it.notice.body, it.age, it.order)).collect::<Vec<_>>()
    };
    board.note(vec![notice("b", b"1"), notice("a\0", b"\0\xff")]).await.unwrap();
    assert!(board.order("b".into(), "drain".into()).await.unwrap());
    assert!(!board.order("c".into(), "drain".into()).await.unwrap());
    fixture.clock.pass(MINUTE);
    board.note(vec![notice("b", b"2")]).await.unwrap();
    let (drain, nothing) = (Some("drain".to_owned()), Duration::ZERO);
    let expected = [(b"\0\xff".to_vec(), MINUTE, None), (b"2".to_vec(), nothing, drain.clone())];
    assert_eq!(told().await, expected);
    fixture.clock.pass(9 * MINUTE);
    assert_eq!(told().await, [(b"2".to_vec(), 9 * MINUTE, drain)], "ten minutes are enough");
    board.note(vec![notice("c", b"3")]).await.unwrap();
    board.forget("b".into()).await.unwrap();
    assert_eq!(told().await, [(b"3".to_vec(), nothing, None)]);
}

pub(crate) async fn a_store_tells_what_it_takes(fixture: &Fixture) {
    let before = fixture.store().stats().await.unwrap().bytes;
    let large = |_| NewJob { body: vec![b'x'; 100_000], ..job("a") };
    fixture.store().enqueue((0..20).map(large).collect()).await.unwrap();
    let after = fixture.store().stats().await.unwrap().bytes;
    assert!(after > before, "{before} {after}");
}
