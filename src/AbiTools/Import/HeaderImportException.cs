namespace Blkring.AbiTools.Import;

/// <summary>
/// Headers that cannot become a spec. The message is one line: file, line, struct and member if there is one, and what
/// is wrong.
/// </summary>
public sealed class HeaderImportException(string message) : Exception(message);

/// <summary>libclang is not installed; the message names Debian's package.</summary>
public sealed class LibClangMissingException(string message) : Exception(message);
