namespace Blkring.Engine.Xenbus;

/// <summary>What keeps a device waiting.</summary>
/// <param name="What">opening the image</param>
/// <param name="Lasted">For how long already.</param>
public sealed record DeviceDelay(string What, TimeSpan Lasted);
