using System.Text.Json;
using System.Text.Json.Serialization;

namespace Blkring.Commands.Opener;

/// <summary>
/// A request to the opener: one message of JSON over a SOCK_SEQPACKET socket, answered by one message. A connection
/// carries any number of requests, one at a time.
/// </summary>
internal sealed record OpenerRequest
{
    public const string Open = "open",
        Grant = "grant";

    /// <summary>The longest message of either side, in bytes.</summary>
    public const int MaxBytes = 8192;

    /// <summary>
    /// What is wanted. open: an image. grant: access for the daemon's group to Xen's devices and to xenstored's socket.
    /// </summary>
    public string Do { get; init; } = "";

    /// <summary>For open: an absolute path.</summary>
    public string? Path { get; init; }

    /// <summary>For open: O_* of open(2), as far as <see cref="OpenerPolicy"/> allows.</summary>
    public int Flags { get; init; }
}

/// <summary>The answer. To open with <see cref="Errno"/> 0 it carries one descriptor.</summary>
internal sealed record OpenerReply
{
    /// <summary>What open(2) returned, as a positive number; 0 when it succeeded.</summary>
    public int Errno { get; init; }

    /// <summary>Why the opener refused, in one line; absent when the kernel did.</summary>
    public string? Refusal { get; init; }
}

[JsonSerializable(typeof(OpenerRequest))]
[JsonSerializable(typeof(OpenerReply))]
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull
)]
internal sealed partial class OpenerJson : JsonSerializerContext
{
    public static byte[] Bytes(OpenerRequest request) =>
        JsonSerializer.SerializeToUtf8Bytes(request, Default.OpenerRequest);

    public static byte[] Bytes(OpenerReply reply) => JsonSerializer.SerializeToUtf8Bytes(reply, Default.OpenerReply);

    /// <returns>Null for what is no request.</returns>
    public static OpenerRequest? TryReadRequest(ReadOnlySpan<byte> message)
    {
        try
        {
            return JsonSerializer.Deserialize(message, Default.OpenerRequest);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    /// <returns>Null for what is no reply.</returns>
    public static OpenerReply? TryReadReply(ReadOnlySpan<byte> message)
    {
        try
        {
            return JsonSerializer.Deserialize(message, Default.OpenerReply);
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
