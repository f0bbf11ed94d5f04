using System.Text;

namespace Blkring.AbiTools.Import;

/// <summary>The headers' texts and their comments, each read once for all targets.</summary>
internal sealed class HeaderSources
{
    private readonly Dictionary<string, byte[]> _bytes = new(StringComparer.Ordinal);
    private readonly Dictionary<string, CommentMap> _comments = new(StringComparer.Ordinal);

    public CommentMap Comments(string file)
    {
        if (!_comments.TryGetValue(file, out CommentMap? map))
            _comments[file] = map = new CommentMap(Encoding.UTF8.GetString(Bytes(file)));
        return map;
    }

    /// <summary>The text between two places of one file; empty if they are not a range of it.</summary>
    public string Between(Place from, Place to)
    {
        byte[] bytes = from.File.Length > 0 && from.File == to.File ? Bytes(from.File) : [];
        return from.Offset >= 0 && from.Offset <= to.Offset && to.Offset <= bytes.Length
            ? Encoding.UTF8.GetString(bytes, from.Offset, to.Offset - from.Offset)
            : "";
    }

    private byte[] Bytes(string file)
    {
        if (!_bytes.TryGetValue(file, out byte[]? bytes))
            _bytes[file] = bytes = File.ReadAllBytes(file);
        return bytes;
    }
}
