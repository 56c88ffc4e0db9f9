//! `segmentd run`: the service, until it is asked to stop or a worker ends.

use super::definitions::{plan_of, read_folder};
use super::{ConfigArg, Failure, Outcome};
use crate::runtime::{self, topic_names};
use crate::telemetry::{Exporter, Metrics};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArg,
}

pub(super) fn run(args: &Args) -> Outcome {
    let config = args.config.load()?;
    for note in &config.notes {
        tracing::warn!("{note}");
    }
    let folder = &config.segments.directory;
    let plan = plan_of(folder)?;
    let files = read_folder(folder)?;
    let _exporter = Exporter::start(config.metrics.listen).map_err(Failure::environment)?;
    let segments: Vec<String> = plan.workspace().definitions.iter().map(|d| d.name.clone()).collect();
    let metrics = Metrics::new(&topic_names(&config).inputs, &segments);
    let service = runtime::start(runtime::Start { config, plan, files, metrics, mock: false, observer: None }).map_err(failure)?;
    let stopper = service.stopper();
    runtime::on_stop(move || stopper.stop()).map_err(failure)?;
    service.wait().map_err(failure)
}

fn failure(error: runtime::Error) -> Failure {
    if error.is_configuration() { Failure::usage(error) } else { Failure::environment(error) }
}
