//! What the gateway adds to a run: the same run straight to the executor and through the gateway,
//! in turns that change places.

use std::time::Instant;

use serde::Serialize;

use super::processes;
use super::session::{Session, Subject};
use super::statistics::{Summary, percentile};

/// What the gateway adds to a run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GatewayCost {
    /// The program that was run.
    pub(crate) program: String,
    /// Straight to the executor.
    pub(crate) direct: Summary,
    /// Through the gateway.
    pub(crate) through: Summary,
    /// Median of the differences of neighbours, in milliseconds.
    pub(crate) added_p50_ms: f64,
}

/// Measures with a program that is quick, so that it shows.
pub(crate) async fn measure(
    session: &Session<'_>,
    subject: &Subject<'_>,
) -> anyhow::Result<Option<GatewayCost>> {
    let (program, port) = (subject.program, subject.executor.port);
    let request = program.request(session.unique());
    // What is repeated is compiled, and a connection is there.
    session.warm.run_directly(port, program, &request).await?;
    let (mut direct, mut through, mut added) = (Vec::new(), Vec::new(), Vec::new());
    let began = Instant::now();
    for turn in 0..session.pace.pairs {
        if turn >= session.pace.samples_min && began.elapsed() > session.pace.gateway() {
            break;
        }
        let (mut one, mut other) = (0.0, 0.0);
        for is_direct in [turn % 2 == 0, turn % 2 == 1] {
            processes::rest(&subject.roots()).await?;
            if is_direct {
                one = session.warm.run_directly(port, program, &request).await?.ms;
            } else {
                other = session.warm.run(program, &request).await?.ms;
            }
        }
        direct.push(one);
        through.push(other);
        added.push(other - one);
    }
    let cost = Summary::of(&direct).zip(Summary::of(&through)).zip(percentile(&added, 50));
    Ok(cost.map(|((direct, through), added_p50_ms)| GatewayCost {
        program: program.title(),
        direct,
        through,
        added_p50_ms,
    }))
}
