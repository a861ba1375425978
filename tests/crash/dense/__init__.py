"""An app in whose processes every schedule is due five times a second; some die while they fire."""
