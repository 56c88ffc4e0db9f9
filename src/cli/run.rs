//! `segmentd run --config FILE`: the service.

use std::sync::Arc;

use super::{ConfigArg, Failure, Outcome, definitions};
use crate::config::Config;
use crate::ids::ShardId;
use crate::lang;
use crate::model::ZoneDatabase;
use crate::plan::Plan;
use crate::runtime::{self, Handle, Start};
use crate::serve::{Server, Service};
use crate::telemetry::{Exporter, Metrics};
use crate::wire::Partitioner;

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
    let files = definitions::read_folder(&config.segments.directory)?;
    let plan = definitions::compiled(lang::compile(&files))?;
    tracing::info!(definitions = %plan.workspace().hash, time_zones = ZoneDatabase::bundled().version(), "starting");
    let listen = (config.http.listen, config.metrics.listen);
    let _exporter = Exporter::start(listen.1).map_err(Failure::environment)?;
    let metrics = metrics(&config, &plan);
    let partitioner = config.inputs.first().and_then(|i| i.partitioner).unwrap_or(Partitioner::Murmur2);
    let handle = runtime::start(Start { config, plan, files, metrics, mock: false, observer: None }).map_err(failure)?;
    let server = match listen.0 {
        Some(address) => match Server::start(address, service(&handle, partitioner)) {
            Ok(server) => {
                tracing::info!(http = %server.address(), "listening");
                Some(server)
            }
            Err(error) => {
                handle.stop();
                // The reason to end is the port; what the workers say on their way out is in the log.
                let _ = handle.wait();
                return Err(Failure::environment(error));
            }
        },
        None => None,
    };
    let stopper = handle.stopper();
    runtime::on_stop(move || stopper.stop()).map_err(failure)?;
    let ended = handle.wait();
    if let Some(server) = server {
        server.stop();
    }
    ended.map_err(failure)?;
    tracing::info!("stopped");
    Ok(())
}

/// The counters of a service; made after the exporter.
pub(super) fn metrics(config: &Config, plan: &Plan) -> Metrics {
    let inputs: Vec<String> = config.inputs.iter().map(|i| i.topic.clone()).collect();
    let definitions: Vec<(String, bool)> =
        plan.workspace().definitions.iter().map(|d| (d.name.clone(), definitions::has_members(d))).collect();
    Metrics::new(&inputs, &definitions)
}

/// What HTTP answers from.
fn service(handle: &Handle, partitioner: Partitioner) -> Service {
    let shards = handle.shards();
    Service {
        view: handle.view().clone(),
        ready: Arc::new(handle.readiness()),
        shard_of: Arc::new(move |customer| Some(ShardId(partitioner.partition(customer.as_bytes(), shards.max(1))))),
        previewer: Some(handle.previewer().clone()),
    }
}

/// Configuration or environment, as the service says.
pub(super) fn failure(error: runtime::Error) -> Failure {
    if error.is_configuration() { Failure::usage(error) } else { Failure::environment(error) }
}
