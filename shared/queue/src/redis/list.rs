//! Jobs are listed page by page, and by no more scripts than others can wait for.

use super::{RedisStore, pack, scripts, unpack};
use crate::{Filter, Page, StoreError};

/// Jobs that one script looks at when it lists some; others must not wait for long.
const LOOKED_AT_MAX: usize = 2000;
/// Scripts that one page takes at most.
const LOOKS_MAX: usize = 5;

impl RedisStore {
    /// A page of jobs, the newest first.
    pub(super) async fn pages(
        &self,
        filter: &Filter,
        from: Option<i64>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let mut page = self.page(filter, from, limit).await?;
        for _ in 1..LOOKS_MAX {
            let Some(from) = page.next.filter(|_| page.jobs.len() < limit) else { break };
            let rest = self.page(filter, Some(from), limit - page.jobs.len()).await?;
            page.jobs.extend(rest.jobs);
            page.next = rest.next;
        }
        Ok(page)
    }

    /// What one script finds of it.
    async fn page(
        &self,
        filter: &Filter,
        from: Option<i64>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let mut call = self.call(&scripts::LIST);
        pack::list(&mut call, filter, (from, limit, LOOKED_AT_MAX));
        let (last, has_more, jobs): unpack::PageAnswer = self.link.run(&call).await?;
        let jobs = jobs.into_iter().map(|(id, fields)| unpack::job(&id, fields, None));
        Ok(Page {
            jobs: jobs.collect::<Result<_, _>>()?,
            next: Some(last).filter(|_| has_more != 0),
        })
    }
}
