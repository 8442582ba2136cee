"""SyncTalk++: a synchronised talking head from text or audio."""
