//! A session's way to its user's ssh agent: a link of its own, which its program has in its environment. The connection
//! that an agent is reached over ends; the link is pointed at the next one.

use std::path::Path;

use super::sessions::Sessions;
use crate::ids::SessionId;
use crate::session::StreamId;

impl Sessions {
    /// A program is about to start, whose environment names this agent. A link that leads to one stays: its owner may have
    /// come since the environment was stored.
    pub(super) fn agent_at_start(&self, id: SessionId, agent: &Path) {
        let agents = &self.shared.dirs.agents;
        if !agents.leads_to_socket(&agents.path().join(id.to_string())) {
            self.point(id, agent);
        }
    }

    /// This stream has become the owner's, and may have brought an agent. A session whose program was started without one
    /// has no link.
    pub(super) fn agent_of_owner(&self, id: SessionId, stream: StreamId) {
        let viewer = self.entries.get(&id).and_then(|entry| entry.viewers.get(&stream));
        let agents = &self.shared.dirs.agents;
        if let Some(agent) = viewer.and_then(|viewer| viewer.agent.as_deref())
            && agents.has_link(&id.to_string())
        {
            if agents.leads_to_socket(agent) {
                self.point(id, agent);
            } else {
                tracing::warn!(session = %id, "the owner's ssh agent is no socket of this user");
            }
        }
    }

    fn point(&self, id: SessionId, agent: &Path) {
        if let Err(error) = self.shared.dirs.agents.link(&id.to_string(), agent) {
            tracing::warn!(session = %id, %error, "no link to the ssh agent");
        }
    }

    /// The session is gone.
    pub(super) fn forget_agent(&self, id: SessionId) {
        let _ = self.shared.dirs.agents.remove_file(&id.to_string());
    }
}
