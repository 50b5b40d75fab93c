"""Where code is reviewed: comments on pull requests of GitHub and merge requests of GitLab."""
