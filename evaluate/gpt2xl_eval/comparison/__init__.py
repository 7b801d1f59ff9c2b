"""How far two models predict a text differently."""
