namespace Blkring.Engine.Queues;

/// <summary>An exception in a pass: the queue takes and answers nothing any more, and other queues go on.</summary>
/// <param name="Request">The request that was worked on, as a line of the log names it; null if none was.</param>
public sealed record QueueCrash(string? Request, Exception Exception)
{
    public string Describe() => $"{Exception.GetType().Name} over {Request ?? "no request"}: {Exception.Message}";
}
