//! What reaches a running engine from outside: changed files, pauses, backfills, the end.

use crate::{Control, Engine, EngineError, runtime::Runtime};
use model::SourceId;
use source::Source;

impl Engine {
    pub(crate) async fn wish(&mut self, wish: Control) -> Result<(), EngineError> {
        match wish {
            Control::Drain => {
                self.draining = true;
                self.flush_wanted = true;
                Ok(())
            }
            Control::Look => self.refresh().await,
            Control::Sources(sources) => self.replace(sources).await,
        }
    }

    /// Gives back the money of what was not sent, and of what will not be.
    pub(crate) async fn release_unsent(&mut self) -> Result<(), EngineError> {
        if self.draining {
            let ready = self.sources.values_mut().flat_map(|source| source.ready.drain(..));
            self.unsent.extend(ready.map(|job| job.attempt));
        }
        let dropped = self.sources.values_mut().flat_map(|source| source.unsent.drain(..));
        self.unsent.extend(dropped);
        if !self.unsent.is_empty() {
            self.ports.state.release(&self.unsent).await?;
            self.unsent.clear();
        }
        Ok(())
    }

    async fn refresh(&mut self) -> Result<(), EngineError> {
        let rows = self.ports.state.sources().await?;
        let backfills = self.ports.state.backfills().await?;
        let now = self.ports.clock.now().wall;
        for row in &rows {
            if let Some(source) = self.sources.get_mut(&row.source) {
                let was_paused = source.paused();
                source.refresh(row, &backfills, now);
                if source.paused() != was_paused {
                    tracing::info!(source = %row.source, paused = source.paused(), "pause changed");
                }
            }
        }
        Ok(())
    }

    /// Takes changed source files. One that cannot be taken leaves the running one as it is.
    async fn replace(&mut self, sources: Vec<Source>) -> Result<(), EngineError> {
        let now = self.ports.clock.now();
        let names: Vec<SourceId> = sources.iter().map(|source| source.id.clone()).collect();
        for source in sources {
            let id = source.id.clone();
            if !self.options.only.is_empty() && !self.options.only.contains(&id) {
                continue;
            }
            let taken = match self.sources.get_mut(&id) {
                Some(runtime)
                    if runtime.compiled.source.version == source.version
                        && runtime.compiled.source == source =>
                {
                    Ok(())
                }
                Some(runtime) => {
                    let result =
                        runtime.replace(source, &*self.ports.state, &self.options, now).await;
                    if result.is_ok() {
                        tracing::info!(source = %id, version = %runtime.compiled.source.version, "source definition taken");
                    }
                    result
                }
                None => Runtime::open(source, &*self.ports.state, &self.options, now).await.map(
                    |runtime| {
                        tracing::info!(source = %id, "new source taken");
                        self.sources.insert(id.clone(), runtime);
                    },
                ),
            };
            match taken {
                Ok(()) => {}
                Err(error @ (EngineError::State(_) | EngineError::Lake(_))) => return Err(error),
                Err(error) => {
                    tracing::warn!(source = %id, error = %error, "changed definition refused, the former one stays");
                }
            }
        }
        self.open_scopes().await?;
        let gone: Vec<SourceId> =
            self.sources.keys().filter(|id| !names.contains(id)).cloned().collect();
        for id in gone {
            if let Some(source) = self.sources.remove(&id) {
                self.unsent.extend(source.ready.iter().map(|job| job.attempt));
                tracing::info!(source = %id, "source taken away");
            }
        }
        Ok(())
    }
}
