"""CompressAI's pretrained networks as models of ncc: fetched on request, converted once, coded exactly."""
