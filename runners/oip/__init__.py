"""The Open Inference Protocol as both sides of the gateway speak it: to clients, and to arms elsewhere."""
