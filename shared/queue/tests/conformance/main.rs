//! One suite for every store of jobs: the rules of `JobStore`, each under the name of what it keeps.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod agree;
mod callbacks;
mod deaf;
mod files;
mod fixture;
mod histories;
mod order;
mod postgres;
mod races;
mod redis;
mod results;
mod retention;
mod submit;
mod tables;
mod times;
mod versions;

use fixture::Fixture;

/// Has every case hold for a store, each in a fresh one.
macro_rules! conformance {
    ($store:ident, $open:expr, [$($group:ident: $($case:ident)*;)*]) => {
        mod $store {
            $($(
                #[tokio::test]
                async fn $case() {
                    let fixture: super::Fixture = $open.await;
                    super::$group::$case(&fixture).await;
                }
            )*)*
        }
    };
}

/// The cases, written once for all stores.
macro_rules! every_case {
    ($store:ident, $open:expr) => {
        conformance!($store, $open, [
            submit: a_job_that_was_acknowledged_is_there_after_a_restart
                what_cannot_be_committed_is_not_acknowledged_and_leaves_nothing
                a_key_stands_for_one_job
                a_key_outlives_the_job_that_it_stands_for
                a_store_says_what_an_acknowledged_job_outlives
                a_key_with_other_content_is_a_conflict
                keys_of_callers_are_apart
                beyond_its_bound_a_caller_is_refused_and_others_are_not
                a_caller_may_have_a_bound_of_its_own
                a_batch_is_kept_in_its_order
                a_cancelled_job_is_never_granted
                many_jobs_are_looked_at_in_one_go
                jobs_are_listed_by_what_they_are;
            order: a_leased_job_is_not_granted_again
                a_higher_priority_goes_first
                a_long_backlog_of_one_caller_does_not_hold_up_another
                nobody_waits_for_what_is_only_guessed_of_their_job
                one_claim_in_ten_takes_the_lowest_priority
                every_priority_gets_its_share_in_every_lane
                a_priority_whose_callers_have_enough_running_is_passed_over
                a_long_backlog_of_a_caller_that_has_enough_running_hides_nobody
                a_run_counts_for_no_longer_than_an_attempt_may_take
                a_caller_has_no_more_running_than_it_may
                only_languages_that_are_asked_for_are_granted
                the_same_poll_gets_the_same_grants_until_they_are_accepted
                a_queue_is_for_its_own_workers
                a_position_counts_those_before
                a_far_position_is_told_though_not_counted
                a_store_tells_what_it_takes
                gateways_tell_each_other_of_workers;
            results: a_result_is_recorded_once
                the_same_result_again_is_a_duplicate
                a_stranger_changes_nothing
                an_attempt_is_given_back_whose_worker_was_asked_to_leave
                however_often_a_job_was_handed_back_a_drain_spends_no_attempt
                a_late_result_is_taken_if_nobody_else_has_the_job
                a_result_after_another_was_granted_the_job_is_stale
                a_worker_s_leases_are_found_again_with_their_tokens
                a_fault_is_retried_and_then_the_job_is_dead
                a_fault_that_no_retry_helps_is_the_end
                what_is_released_has_spent_no_attempt
                a_running_job_hears_that_it_is_cancelled
                a_cancel_that_comes_too_late_says_so
                a_dead_job_can_be_redriven;
            callbacks: a_final_job_tells_its_callback_once_it_is_due
                a_caller_with_many_callbacks_does_not_hold_up_others
                a_job_is_kept_while_its_callback_is_tried
                a_job_that_is_redriven_has_another_callback_when_it_ends;
            times: a_lease_that_nobody_extends_ends_and_the_job_goes_on
                a_grant_that_nobody_accepts_spends_no_attempt
                two_workers_that_die_with_a_job_are_enough
                only_workers_that_die_in_a_row_make_a_job_poison
                retries_wait_longer_each_time_up_to_a_minute
                a_sweep_gets_through_all_that_is_due_in_steps
                what_may_run_once_is_not_run_again
                a_worker_whose_gateway_starts_anew_gives_its_jobs_back
                a_worker_that_starts_anew_again_and_again_is_killed_by_its_job
                no_lease_goes_beyond_its_attempt
                a_job_waits_for_its_time
                a_job_that_is_not_started_in_time_expires
                a_job_that_was_granted_and_not_started_expires_all_the_same
                a_job_that_was_started_in_time_is_retried_later
                a_cancelled_job_whose_worker_dies_is_cancelled
                leases_outlive_a_restart;
            races: a_key_that_comes_a_hundred_times_at_once_is_one_job
                either_a_sweep_or_the_worker_has_a_late_job;
            retention: what_is_over_goes_after_its_time
                beyond_a_number_the_oldest_go
                keys_go_after_theirs
                a_key_stands_for_its_job_for_as_long_as_that_is_kept
                of_keys_the_oldest_go_beyond_a_number_unless_their_jobs_are_open
                a_lane_is_forgotten_with_its_last_job
                the_last_attempts_are_kept
                of_callbacks_the_oldest_go_beyond_a_number
                few_jobs_are_listed_among_many
                counts_are_right_all_the_while;
        ]);
    };
}

every_case!(sqlite, crate::Fixture::sqlite());
every_case!(on_postgres, crate::Fixture::postgres());
every_case!(on_redis, crate::Fixture::redis());
